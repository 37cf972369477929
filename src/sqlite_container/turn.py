"""Whose turn it is to write: one fair queue for each database file of the process.

A turn goes from one writer to the next in order of arrival. Handing it over costs a switch of
threads, several times what a small transaction takes; so a thread that has just come straight
back for its next transaction may go on writing for ``QUANTUM`` seconds before the next in the
queue is given the turn. A thread that does something else in between passes it on at once.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Protocol
from weakref import WeakValueDictionary

QUANTUM = 0.001
"""Seconds for which one thread may take the turn again and again while others wait."""
PATIENCE = 0.0001
"""Seconds within which a thread has come straight back, and for which the turn is kept for it."""
_LOOK = 0.0005
"""Seconds after which the first in the queue looks whether a turn that was kept is wanted."""
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
    """Stands for the thread that asks. Its number will not do: others get it when it has ended."""

    def __init__(self) -> None:
        self.thread = object()


_this = _This()


class _Waiter:
    __slots__ = ("bell", "granted", "looks", "quick", "thread", "writer")

    def __init__(self, writer: Writer, *, quick: bool) -> None:
        self.writer = writer
        self.thread = _this.thread
        self.quick = quick
        self.granted = False
        self.looks = False
        self.bell = threading.Lock()
        self.bell.acquire()

    def ring(self) -> None:
        if self.bell.locked():  # it may have been rung and not have woken yet
            self.bell.release()


class _Habit(threading.local):
    """When this thread last released the turn."""

    released = float("-inf")


# Guards the fields of every turn, and which thread waits for which of them. One for all turns,
# because a deadlock is a circle through several; it is never held while anybody waits.
_mutex = threading.Lock()
_waits: dict[object, Turn] = {}


class Turn:
    """The right to write to one file.

    While nobody holds it and somebody waits, it is being kept for the thread that reigns, and
    the first in the queue looks at short intervals whether that one came back.
    """

    def __init__(self) -> None:
        self.holder: Writer | None = None
        self.since = 0.0
        self.closing = threading.Lock()  # one connection to the file is closed at a time
        self.rivals = 0.0  # until when other processes are expected to write as well
        self._queue: deque[_Waiter] = deque()
        self.thread: object = None  # the thread that reigns: it holds the turn, or held it last
        self._quick = False  # whether that thread came straight back the last time
        self._end = 0.0  # when its reign ends, if others wait
        self._released = 0.0
        self._habit = _Habit()

    @property
    def waiting(self) -> int:
        """How many writers wait."""
        return len(self._queue)

    def acquire(self, writer: Writer, timeout: float) -> None:
        """Wait for the turn, for at most ``timeout`` seconds.

        Raises :class:`TimedOut`, and :class:`Deadlock` at once where waiting is pointless.
        """
        now = monotonic()
        quick = now - self._habit.released < PATIENCE
        thread = _this.thread
        try:
            with _mutex:
                if self.holder is None and (self.thread is thread or not self._queue):
                    if not quick or self.thread is not thread:
                        self._end = now + QUANTUM
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
        return self.thread is _this.thread

    def _wait(self, waiter: _Waiter, deadline: float) -> None:
        pause = min(_LONG, deadline - monotonic())
        while True:
            rung = waiter.bell.acquire(timeout=max(0.0, pause))
            with _mutex:
                now = monotonic()
                if waiter.granted or self._is_unwanted(waiter, now, deadline):
                    return
                if now >= deadline:
                    raise TimedOut
                since = self.since
            if waiter.writer.gave_up():
                raise Withdrawn
            if not rung and now - since >= _LONG:
                self._look_after()
            pause = min(_LOOK if waiter.looks else _LONG, deadline - now)

    def _look_after(self) -> None:
        """Take the turn from a holder that has nothing to write any more, and does not know it."""
        holder = self.holder
        if holder is not None and not holder.still_writes():
            self.release(holder)

    def _is_unwanted(self, waiter: _Waiter, now: float, deadline: float) -> bool:
        """Take the turn if it was kept for a thread that has not come back."""
        if self.holder is not None or self._queue[0] is not waiter:
            return False
        if now - self._released < PATIENCE and now < deadline:
            return False
        self._pass_on(now)
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
        self._released = self._habit.released = now
        if self._queue:
            if self._quick and now < self._end and self.thread is _this.thread:
                self._keep()
            else:
                self._pass_on(now)

    def _keep(self) -> None:
        """Leave the turn to the thread that reigns; somebody looks whether it wants it."""
        first = self._queue[0]
        if not first.looks:
            first.looks = True
            first.ring()

    def _pass_on(self, now: float) -> None:
        waiter = self._queue.popleft()
        waiter.granted = True
        _waits.pop(waiter.thread, None)  # before anybody asks whom the new holder waits for
        self._end = now + QUANTUM
        self._grant(waiter.writer, waiter.thread, now, quick=waiter.quick)
        waiter.ring()

    def _grant(self, writer: Writer, thread: object, now: float, *, quick: bool) -> None:
        self.holder = writer
        self.since = now
        self.thread = thread
        self._quick = quick

    def _check_circle(self, thread: object) -> None:
        turn: Turn | None = self
        while turn is not None and turn.holder is not None:
            if turn.thread is thread:
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
