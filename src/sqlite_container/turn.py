"""Whose turn it is to write: one fair queue for each database file of the process."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Protocol
from weakref import WeakValueDictionary


class Writer(Protocol):
    """Somebody who takes turns: a connection, as far as a turn is concerned."""

    @property
    def thread(self) -> int: ...


class Deadlock(Exception):
    """Waiting would never end: the holder waits, in the end, for the one who asks."""


class TimedOut(Exception):
    """The turn did not come within the time given."""


class _Waiter:
    __slots__ = ("bell", "granted", "writer")

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.granted = False
        self.bell = threading.Lock()
        self.bell.acquire()


# Guards the fields of every turn, and which thread waits for which of them. One for all turns,
# because a deadlock is a circle through several; it is never held while anybody waits.
_mutex = threading.Lock()
_waits: dict[int, Turn] = {}


class Turn:
    """The right to write to one file, handed from one writer to the next in order of arrival."""

    def __init__(self) -> None:
        self.holder: Writer | None = None
        self.since = 0.0
        self._queue: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """How many writers wait."""
        return len(self._queue)

    def acquire(self, writer: Writer, timeout: float) -> None:
        """Wait for the turn, for at most ``timeout`` seconds.

        Raises :class:`TimedOut`, and :class:`Deadlock` at once where waiting is pointless.
        """
        with _mutex:
            if self.holder is None:
                self._grant(writer)
                return
            self._check_circle(writer.thread)
            waiter = _Waiter(writer)
            self._queue.append(waiter)
            _waits[writer.thread] = self
        self._wait(waiter, timeout)

    def release(self, writer: Writer) -> None:
        """Give the turn to the next in the queue. Safe to call when it is not held."""
        with _mutex:
            if self.holder is writer:
                self._pass_on()

    def _wait(self, waiter: _Waiter, timeout: float) -> None:
        try:
            waiter.bell.acquire(timeout=timeout)
            self._leave_queue(waiter)
        except BaseException:
            self._leave_queue(waiter)
            self.release(waiter.writer)
            raise
        if not waiter.granted:
            raise TimedOut

    def _leave_queue(self, waiter: _Waiter) -> None:
        with _mutex:
            _waits.pop(waiter.writer.thread, None)
            if not waiter.granted and waiter in self._queue:
                self._queue.remove(waiter)

    def _grant(self, writer: Writer) -> None:
        self.holder = writer
        self.since = monotonic()

    def _pass_on(self) -> None:
        self.holder = None
        if self._queue:
            waiter = self._queue.popleft()
            waiter.granted = True
            self._grant(waiter.writer)
            waiter.bell.release()

    def _check_circle(self, thread: int) -> None:
        turn: Turn | None = self
        while turn is not None and turn.holder is not None:
            if turn.holder.thread == thread:
                raise Deadlock
            turn = _waits.get(turn.holder.thread)


_turns: WeakValueDictionary[object, Turn] = WeakValueDictionary()


def turn_for(key: object) -> Turn:
    """The turn of a file, the same for every database that is opened on it."""
    with _mutex:
        return _turns.setdefault(key, Turn())
