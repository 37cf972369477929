"""Who holds which connection, and who is next: the state of a pool, without locks or I/O."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, Generic, TypeVar

C = TypeVar("C", bound=Any)
W = TypeVar("W", bound=Any)


class Counters:
    """Counted since the pool was opened. The names are those of psycopg_pool's statistics."""

    def __init__(self) -> None:
        self.requests_num = 0
        self.requests_queued = 0
        self.requests_wait_ms = 0.0
        self.requests_errors = 0
        self.usage_ms = 0.0
        self.returns_bad = 0
        self.connections_num = 0
        self.connections_ms = 0.0
        self.connections_errors = 0
        self.connections_lost = 0


class Ledger(Generic[C, W]):
    """The connections of one database: idle, or out; those being opened; and who waits for one.

    A waiter is given a connection, or the right to open one, at the moment it becomes free:
    whoever comes later cannot take it. ``known`` has every connection that is open, also
    while it goes from one place to the other. Only under the pool's lock.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.known: set[C] = set()
        self.idle: list[tuple[C, float]] = []  # and since when
        self.out: dict[C, Any] = {}  # and to whom
        self.opening: set[Any] = set()  # those whose borrower opens one
        self.waiters: deque[W] = deque()
        self.counters = Counters()

    @property
    def size(self) -> int:
        """How many connections there are, or are being opened."""
        return len(self.known) + len(self.opening)

    def take(self, *, read_only: bool) -> C | None:
        """An idle connection: of the kind that is wanted, or else, if full, of the other."""
        idle = self.idle
        if idle and idle[-1][0].read_only is read_only:
            return idle.pop()[0]
        for position in range(len(idle) - 1, -1, -1):
            if idle[position][0].read_only is read_only:
                return idle.pop(position)[0]
        return idle.pop()[0] if idle and self.size >= self.max_size else None

    def reserve(self, borrower: Any) -> bool:
        """Claim the place of a connection that ``borrower`` is about to open."""
        if self.size >= self.max_size:
            return False
        self.opening.add(borrower)
        return True

    def is_first(self, borrower: Any) -> bool:
        """Whether nothing is open, and nobody but ``borrower`` opens anything."""
        return not self.known and self.opening == {borrower}

    def opened(self, connection: C, borrower: Any) -> None:
        """It takes the place that its borrower has claimed."""
        self.known.add(connection)
        self.opening.discard(borrower)
        self.out[connection] = borrower

    def streams_besides(self, borrower: Any) -> int:
        """How many connections are out to others who stream."""
        return sum(each.streaming for each in self.out.values() if each is not borrower)

    def next_waiter(self) -> W | None:
        """The one who has waited longest, if what comes free now is for a waiter."""
        return self.waiters[0] if self.waiters else None

    def leave_queue(self, waiter: W) -> None:
        """Take a waiter out of the queue, if it is there."""
        with suppress(ValueError):
            self.waiters.remove(waiter)

    def keep(self, connection: C, now: float) -> None:
        """Put a connection that came back, and that nobody waits for, among the idle ones."""
        self.idle.append((connection, now))

    @property
    def has_room(self) -> bool:
        """Whether another connection may be opened."""
        return self.size < self.max_size

    def expire(self, before: float) -> list[C]:
        """Take out what has been idle since before that moment; the oldest stand first."""
        count = 0
        while count < len(self.idle) and self.idle[count][1] < before:
            count += 1
        expired = [connection for connection, _ in self.idle[:count]]
        del self.idle[:count]
        return expired

    def idle_since(self) -> float | None:
        """When a connection came back last; None if one is not here, or is waited for."""
        if self.waiters or self.size != len(self.idle):
            return None
        return self.idle[-1][1] if self.idle else 0.0

    def drain(self) -> list[C]:
        """Take out everything that is idle."""
        return self.expire(float("inf"))

    def strays(self) -> set[C]:
        """What is neither idle nor out: it is being given back, or an exception has kept it."""
        return self.known - self.out.keys() - {connection for connection, _ in self.idle}

    def lost(self) -> list[C]:
        """Those of them that nobody is giving back, and that no waiter has been granted."""
        granted = {waiter.connection for waiter in self.waiters if waiter.granted}
        return [each for each in self.strays() - granted if each.running is None]
