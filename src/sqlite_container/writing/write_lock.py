"""Whose turn it is to write: one fair queue for each database file of the process.

A turn goes from one writer to the next in order of arrival. But to wake the next one takes
several times as long as a small transaction does. So a turn that comes free is left free at
first: the next in the queue is woken and takes it, unless somebody who runs at that moment has
been quicker. That ends ``QUANTUM`` seconds after the last time when the queue had its turn:
from then on the turn is handed over, and whoever comes has to wait behind the others.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Protocol
from weakref import WeakValueDictionary

from .contention import Rivals

QUANTUM = 0.001
"""Seconds for which others may be quicker than the first in the queue."""
PATIENCE = 0.0001
"""Seconds within which a thread has come straight back for its next transaction."""
_LOOK = 0.0005
"""Seconds after which the first in the queue looks whether the turn is free, if nobody rings."""
_LONG = 0.05
"""Seconds after which somebody who waits looks whether the holder still writes."""


class Writer(Protocol):
    """Somebody who takes turns: a connection, as far as a turn is concerned."""

    def still_writes(self) -> bool:
        """Whether there is something that the turn is held for."""
        ...

    def gave_up(self) -> bool:
        """Whether it does not want the turn any more, while it waits for it."""
        ...


class Deadlock(Exception):
    """Waiting would never end: the holder waits, in the end, for the one who asks."""


class TimedOut(Exception):
    """The turn did not come within the time given."""


class Withdrawn(Exception):
    """The writer gave up while it waited."""


class _This(threading.local):
    """The thread that asks."""

    def __init__(self) -> None:
        self.thread = object()  # its number will not do: others get it when it has ended
        self.released = float("-inf")  # when it last released a turn


_this = _This()


class _Waiter:
    __slots__ = ("bell", "granted", "looks", "quick", "thread", "writer")

    def __init__(self, writer: Writer, *, quick: bool) -> None:
        self.writer = writer
        self.quick = quick
        self.thread = _this.thread
        self.granted = False
        self.looks = False
        self.bell = threading.Lock()
        self.bell.acquire()

    def ring(self) -> None:
        if self.bell.locked():  # it may have been rung and not have woken yet
            self.bell.release()


# Guards the fields of every turn, and which thread waits for which of them. One for all turns,
# because a deadlock is a circle through several; it is never held while anybody waits.
_mutex = threading.Lock()
_waits: dict[object, Turn] = {}


class Turn:
    """The right to write to one file."""

    def __init__(self) -> None:
        self.holder: Writer | None = None
        self.since = 0.0
        self.closing = threading.Lock()  # one connection to the file is closed at a time
        self.rivals = Rivals()
        self._queue: deque[_Waiter] = deque()
        self._thread: object = None  # the one that holds it, or held it last
        self._quick = False  # whether that thread had come straight back
        self._open_until = 0.0  # until when others may be quicker than the queue

    @property
    def waiting(self) -> int:
        """How many writers wait."""
        return len(self._queue)

    def acquire(self, writer: Writer, timeout: float) -> None:
        """Wait for the turn, for at most ``timeout`` seconds.

        Raises :class:`TimedOut`, and :class:`Deadlock` at once where waiting is pointless.
        """
        try:
            self._acquire(writer, timeout)
        except Deadlock:
            if not self._look_after():
                raise
            self._acquire(writer, timeout)

    def _acquire(self, writer: Writer, timeout: float) -> None:
        now = monotonic()
        thread = _this.thread
        quick = now - _this.released < PATIENCE
        try:
            with _mutex:
                if self.holder is None and (not self._queue or now < self._open_until):
                    if not self._queue:
                        self._open_until = now + QUANTUM
                    self._grant(writer, thread, now, quick=quick)
                    return
                self._check_circle(thread)
                waiter = _Waiter(writer, quick=quick)
                _waits[thread] = self
                self._queue.append(waiter)
            self._wait(waiter, now + timeout)
        except Deadlock:
            raise
        except BaseException:
            self._withdraw(writer, thread)
            raise

    def release(self, writer: Writer) -> None:
        """Give the turn back. Safe to call when it is not held."""
        with _mutex:
            if self.holder is writer:
                self._give_up()

    def is_held_here(self) -> bool:
        """Whether this thread holds it, or held it last."""
        return self._thread is _this.thread

    def _wait(self, waiter: _Waiter, deadline: float) -> None:
        pause = min(_LONG, deadline - monotonic())
        while True:
            rung = waiter.bell.acquire(timeout=max(0.0, pause))
            with _mutex:
                now = monotonic()
                if self.holder is None and self._queue[0] is waiter:
                    self._pass_on(now)
                if waiter.granted:
                    return
                if now >= deadline:
                    raise TimedOut
                since = self.since
            if waiter.writer.gave_up():
                raise Withdrawn
            if not rung and now - since >= _LONG:
                self._look_after()
            pause = min(_LOOK if waiter.looks else _LONG, deadline - now)

    def _look_after(self) -> bool:
        """Take the turn from a holder that has nothing to write any more, and does not know it."""
        holder = self.holder
        if holder is None or holder.still_writes():
            return False
        self.release(holder)
        return True

    def _withdraw(self, writer: Writer, thread: object) -> None:
        """Undo ``acquire()``, wherever it was interrupted."""
        with _mutex:
            _waits.pop(thread, None)
            for waiter in [each for each in self._queue if each.writer is writer]:
                self._queue.remove(waiter)
            if self.holder is writer:
                self._give_up()
            elif self.holder is None and self._queue:
                self._pass_on(monotonic())

    def _give_up(self) -> None:
        now = monotonic()
        self.holder = None
        if self._thread is _this.thread:
            _this.released = now
        if self._queue:
            if now >= self._open_until:
                self._pass_on(now)
            else:
                self._wake_first()

    def _wake_first(self) -> None:
        """Have the first in the queue take the turn.

        Where a thread writes again and again, waking it each time would be in vain, and slow
        both of them down: then it looks by itself, at short intervals.
        """
        first = self._queue[0]
        if not (self._quick and first.looks):
            first.looks = self._quick
            first.ring()

    def _pass_on(self, now: float) -> None:
        waiter = self._queue.popleft()
        waiter.granted = True
        _waits.pop(waiter.thread, None)  # before anybody asks whom the new holder waits for
        self._open_until = now + QUANTUM
        self._grant(waiter.writer, waiter.thread, now, quick=waiter.quick)
        waiter.ring()

    def _grant(self, writer: Writer, thread: object, now: float, *, quick: bool) -> None:
        self.holder = writer
        self.since = now
        self._thread = thread
        self._quick = quick

    def _check_circle(self, thread: object) -> None:
        turn: Turn | None = self
        while turn is not None and turn.holder is not None:
            if turn._thread is thread:
                raise Deadlock
            turn = _waits.get(turn._thread)


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
