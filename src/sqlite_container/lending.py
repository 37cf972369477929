"""Who holds which connection, and who is next: the pool's state, without locks or threads."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

C = TypeVar("C", bound=Any)
W = TypeVar("W", bound=Any)


@dataclass
class Counters:
    """Counted since the pool was opened. The names are those of psycopg_pool's statistics."""

    requests_num: int = 0
    requests_queued: int = 0
    requests_wait_ms: float = 0
    requests_errors: int = 0
    usage_ms: float = 0
    returns_bad: int = 0
    connections_num: int = 0
    connections_ms: float = 0
    connections_errors: int = 0
    connections_lost: int = 0


@dataclass
class Ledger(Generic[C, W]):
    """The connections of one database: idle, out, or being opened; and who waits for one.

    ``size`` counts all three. A waiter is given a connection, or the right to open one, at
    the moment it becomes free: whoever comes later cannot take it.
    """

    max_size: int
    size: int = 0
    idle: list[tuple[C, float]] = field(default_factory=list)
    out: dict[C, Any] = field(default_factory=dict)
    waiters: deque[W] = field(default_factory=deque)
    counters: Counters = field(default_factory=Counters)

    def take(self, *, read_only: bool) -> C | None:
        """An idle connection: of the kind that is wanted, or else, if full, of the other."""
        idle = self.idle
        for position in range(len(idle) - 1, -1, -1):
            if idle[position][0].read_only is read_only:
                return idle.pop(position)[0]
        return idle.pop()[0] if idle and self.size >= self.max_size else None

    def reserve(self) -> bool:
        """Claim the place of a connection that is about to be opened."""
        if self.size >= self.max_size:
            return False
        self.size += 1
        return True

    def free(self, connection: C, now: float) -> W | None:
        """A connection came back: the waiter it goes to, or None when it is idle now."""
        if self.waiters:
            return self.waiters.popleft()
        self.idle.append((connection, now))
        return None

    def vacate(self) -> W | None:
        """A place came free: the waiter that may open a connection in it, or None."""
        if self.waiters:
            return self.waiters.popleft()
        self.size -= 1
        return None

    def expire(self, before: float) -> list[C]:
        """Take out what has been idle since before that moment; the oldest stand first."""
        if not self.idle or self.idle[0][1] >= before:
            return []
        count = 0
        while count < len(self.idle) and self.idle[count][1] < before:
            count += 1
        expired = [connection for connection, _ in self.idle[:count]]
        del self.idle[:count]
        self.size -= count
        return expired

    def drain(self) -> list[C]:
        """Take out everything that is idle."""
        return self.expire(float("inf"))
