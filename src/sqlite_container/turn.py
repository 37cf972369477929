"""Whose turn it is to write: one fair queue for each database file of the process."""

from __future__ import annotations

import threading
from collections import deque
from threading import get_ident
from time import monotonic
from weakref import WeakValueDictionary


class Deadlock(Exception):
    """Waiting would never end: the holder waits, in the end, for the one who asks."""


class TimedOut(Exception):
    """The turn did not come within the time given."""


class _Waiter:
    __slots__ = ("bell", "granted", "thread", "writer")

    def __init__(self, writer: object, thread: int) -> None:
        self.writer = writer
        self.thread = thread
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
        self.holder: object | None = None
        self.thread = 0
        self.since = 0.0
        self._queue: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """How many writers wait."""
        return len(self._queue)

    def acquire(self, writer: object, timeout: float) -> None:
        """Wait for the turn, for at most ``timeout`` seconds.

        Raises :class:`TimedOut`, and :class:`Deadlock` at once where waiting is pointless.
        """
        thread = get_ident()
        with _mutex:
            if self.holder is None:
                self._grant(writer, thread)
                return
            self._check_circle(thread)
            waiter = _Waiter(writer, thread)
            self._queue.append(waiter)
            _waits[thread] = self
        self._wait(waiter, timeout)

    def release(self, writer: object) -> None:
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
            if waiter in self._queue:
                self._queue.remove(waiter)
                _waits.pop(waiter.thread, None)

    def _grant(self, writer: object, thread: int) -> None:
        self.holder = writer
        self.thread = thread
        self.since = monotonic()

    def _pass_on(self) -> None:
        self.holder = None
        if self._queue:
            waiter = self._queue.popleft()
            waiter.granted = True
            _waits.pop(waiter.thread, None)
            self._grant(waiter.writer, waiter.thread)
            waiter.bell.release()

    def _check_circle(self, thread: int) -> None:
        turn: Turn | None = self
        while turn is not None and turn.holder is not None:
            if turn.thread == thread:
                raise Deadlock
            turn = _waits.get(turn.thread)


_turns: WeakValueDictionary[object, Turn] = WeakValueDictionary()


def turn_for(key: object) -> Turn:
    """The turn of a file, the same for every database that is opened on it."""
    with _mutex:
        return _turns.setdefault(key, Turn())


def forget() -> None:
    """In a forked child: nobody holds a turn, and nobody waits."""
    global _mutex
    _mutex = threading.Lock()
    _waits.clear()
    _turns.clear()
