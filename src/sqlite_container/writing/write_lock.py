"""The write lock of each database file of this process, and the fair queue before it.

The lock goes from one writer to the next in order of arrival. But to wake the next one takes
several times as long as a small transaction does. So a lock that comes free is left free at
first: the first in the queue is woken and takes it, unless somebody who runs at that moment has
been quicker. That ends ``QUANTUM`` seconds after the last time when the queue had the lock: from
then on it is handed over, and whoever comes has to wait behind the others.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Protocol
from weakref import WeakValueDictionary

from ..threads.bell import Bell
from .contention import Contention

QUANTUM = 0.001
"""Seconds for which others may be quicker than the first in the queue."""
PATIENCE = 0.0001
"""Seconds within which a thread has come straight back for its next transaction."""
_LOOK = 0.0005
"""Seconds after which the first in the queue looks whether the lock is free, if nobody rings."""
_LONG = 0.05
"""Seconds after which somebody who waits looks whether the holder still writes."""


class Writer(Protocol):
    """Somebody who writes: a connection, as far as the write lock is concerned."""

    def still_writes(self) -> bool:
        """Tell whether there is something that the lock is held for."""
        ...

    def gave_up(self) -> bool:
        """Tell whether it does not want the lock any more, while it waits for it."""
        ...


class Failed(Exception):
    """Somebody did not get the write lock."""


class Deadlock(Failed):
    """Waiting would never end: the holder waits, in the end, for the one who asks."""


class TimedOut(Failed):
    """The lock did not come free within the time given."""


class Withdrawn(Failed):
    """The writer gave up while it waited."""


class _Thread:
    """A thread that writes; its number will not do, others get it when it has ended."""

    __slots__ = ("released",)

    def __init__(self) -> None:
        self.released = float("-inf")  # when it last released a write lock


class _This(threading.local):
    """The thread that asks."""

    def __init__(self) -> None:
        self.thread = _Thread()


_this = _This()


class _Waiter:
    """A writer in the queue. What is granted to it is granted under ``_mutex``."""

    __slots__ = ("bell", "granted", "looks", "quick", "thread", "writer")

    def __init__(self, writer: Writer, *, quick: bool) -> None:
        self.writer = writer
        self.quick = quick
        self.thread: _Thread = _this.thread
        self.granted = False
        self.looks = False
        self.bell = Bell()


class _Mutex:
    """Guards the fields of every write lock, and which thread waits for which of them.

    One for all of them, because a deadlock is a circle through several. It is never held while
    anybody waits. A forked child replaces ``lock``: the parent's may be held by a thread that
    the child does not have.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waits: dict[_Thread | None, WriteLock] = {}
        self.locks: WeakValueDictionary[object, WriteLock] = WeakValueDictionary()


_mutex = _Mutex()


class WriteLock:
    """The right to write to one file, which one connection of this process has at a time."""

    def __init__(self) -> None:
        self.holder: Writer | None = None
        self.since = 0.0
        self.closing = threading.Lock()  # one connection to the file is closed at a time
        self.contention = Contention()
        self._queue: deque[_Waiter] = deque()
        self._thread: _Thread | None = None  # the one that holds it, or held it last
        self._quick = False  # whether that thread had come straight back
        self._open_until = 0.0  # until when others may be quicker than the queue

    def __repr__(self) -> str:
        return f"<WriteLock held by {self.holder!r}, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """How many writers wait."""
        return len(self._queue)

    def acquire(self, writer: Writer, timeout: float, now: float) -> float:
        """Wait for the lock, from ``now`` on for at most ``timeout`` seconds.

        Returns the moment at which it has it. Raises :class:`TimedOut`, :class:`Withdrawn`, and
        :class:`Deadlock` at once where waiting is pointless.
        """
        thread = _this.thread
        quick = now - thread.released < PATIENCE
        try:
            with _mutex.lock:
                if self.holder is None and (not self._queue or now < self._open_until):
                    if not self._queue:
                        self._open_until = now + QUANTUM
                    self.since, self._thread, self._quick = now, thread, quick
                    self.holder = writer
                    return now
                self._check_circle(thread)
                waiter = _Waiter(writer, quick=quick)
                _mutex.waits[thread] = self
                self._queue.append(waiter)
            self._wait(waiter, now + timeout)
            return monotonic()
        except Deadlock:
            if not self._take_from_idle_holder():
                raise
            return self.acquire(writer, timeout, now)
        except BaseException:
            self._withdraw(writer, thread)
            raise

    def release(self, writer: Writer) -> None:
        """Give the lock back. Safe to call when it is not held."""
        with _mutex.lock:
            if self.holder is writer:
                now = monotonic()
                if self._thread is not None:
                    self._thread.released = now
                self.holder = None
                if self._queue:
                    self._give_up(now)

    def is_held_here(self) -> bool:
        """Tell whether this thread holds it, or held it last."""
        return self._thread is _this.thread

    def _wait(self, waiter: _Waiter, deadline: float) -> None:
        pause = min(_LONG, deadline - monotonic())
        while not self._has_come(waiter, deadline, pause):
            pause = min(_LOOK if waiter.looks else _LONG, deadline - monotonic())

    def _has_come(self, waiter: _Waiter, deadline: float, pause: float) -> bool:
        """Wait for ``pause`` seconds; tell whether the waiter has the lock now."""
        rung = waiter.bell.wait(pause)
        with _mutex.lock:
            now = monotonic()
            if self.holder is None and self._is_first(waiter):
                self._pass_on(now)
            if waiter.granted or self.holder is waiter.writer:
                self._arrive(waiter)
                return True
            if now >= deadline:
                raise TimedOut
            since = self.since
        if waiter.writer.gave_up():
            raise Withdrawn
        if not rung and now - since >= _LONG:
            self._take_from_idle_holder()
        return False

    def _arrive(self, waiter: _Waiter) -> None:
        """Leave the queue, if whoever passed the lock on was interrupted. The mutex is held."""
        if self._is_first(waiter):
            self._queue.popleft()
        _mutex.waits.pop(waiter.thread, None)

    def _is_first(self, waiter: _Waiter) -> bool:
        return bool(self._queue) and self._queue[0] is waiter

    def _take_from_idle_holder(self) -> bool:
        """Release the lock for a holder that has nothing to write any more, unknowingly."""
        holder, since = self.holder, self.since
        if holder is None or holder.still_writes():
            return False
        with _mutex.lock:
            if self.holder is holder and self.since == since:  # or it has begun anew
                self._give_up(monotonic())
        return True

    def _withdraw(self, writer: Writer, thread: _Thread) -> None:
        """Undo ``acquire()``, wherever it was interrupted."""
        with _mutex.lock:
            _mutex.waits.pop(thread, None)
            self._leave_queue(writer)
            if self.holder is writer:
                self._give_up(monotonic())
            elif self.holder is None and self._queue:
                self._pass_on(monotonic())

    def _leave_queue(self, writer: Writer) -> None:
        """Take a writer out of the queue. The caller holds the mutex."""
        for waiter in [each for each in self._queue if each.writer is writer]:
            self._queue.remove(waiter)

    def _give_up(self, now: float) -> None:
        """Make the lock free, for the first in the queue. The caller holds the mutex."""
        self.holder = None
        if self._queue:
            if now >= self._open_until:
                self._pass_on(now)
            else:
                self._wake_first()

    def _wake_first(self) -> None:
        """Have the first in the queue take the lock. The caller holds the mutex.

        Where a thread writes again and again, waking it each time would be in vain, and slow
        both of them down: then it looks by itself, at short intervals.
        """
        first = self._queue[0]
        if not (self._quick and first.looks):
            first.looks = self._quick
            first.bell.ring()

    def _pass_on(self, now: float) -> None:
        """Hand the lock to the first in the queue. The caller holds the mutex.

        In an order in which an exception between two lines harms nobody: who holds the lock
        finds that out by himself, even if he is not told.
        """
        waiter = self._queue[0]
        self._open_until = now + QUANTUM
        self._grant(waiter.writer, waiter.thread, now, waiter.quick)
        waiter.granted = True
        self._queue.popleft()
        _mutex.waits.pop(waiter.thread, None)
        waiter.bell.ring()

    def _grant(self, writer: Writer, thread: _Thread, now: float, quick: bool) -> None:  # noqa: FBT001
        """Make a writer the holder. The caller holds the mutex."""
        self.since = now
        self._thread = thread
        self._quick = quick
        self.holder = writer

    def _check_circle(self, thread: _Thread) -> None:
        """Raise :class:`Deadlock` if the holder waits for this thread. The mutex is held.

        A holder may still be noted as waiting for the lock that it was just given, if whoever
        passed it on was interrupted: so nobody is asked twice.
        """
        lock: WriteLock | None = self
        asked: set[_Thread | None] = set()
        while lock is not None and lock.holder is not None and lock._thread not in asked:
            if lock._thread is thread:
                raise Deadlock
            asked.add(lock._thread)
            lock = _mutex.waits.get(lock._thread)


def write_lock_of(file: object) -> WriteLock:
    """Return the write lock of a file, the same for every database that is opened on it."""
    with _mutex.lock:
        return _mutex.locks.setdefault(file, WriteLock())


def forget_locks() -> None:
    """Forget all in a forked child: there nobody holds a write lock, and nobody waits."""
    _mutex.lock = threading.Lock()
    _mutex.waits.clear()
    _mutex.locks.clear()
