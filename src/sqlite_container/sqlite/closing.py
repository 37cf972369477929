"""The connections to a file are closed one at a time, whichever process they are in.

The last one to close removes the ``-wal`` file, and SQLite knows the last one by its being
alone: of two that close at the same moment, neither is. So the folder is locked meanwhile. A
lock on the database file itself would not do: to close a descriptor of it ends SQLite's own
locks as well (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import path
from pathlib import Path
from time import monotonic, sleep
from weakref import WeakSet

if sys.platform != "win32":  # there, a -wal file may stay when two processes end together
    import fcntl

PATIENCE = 1.0
"""Seconds to wait for another process that closes; without the lock a ``-wal`` may stay."""
_BURST = 60.0
"""Seconds after waiting in vain within which nobody waits for the same folder again."""
_TICK = 0.001


class _Folder:
    """An open folder. Its descriptor is closed when nothing refers to it, whatever is raised.

    To open and to note it, and to forget and to close it, are one call of C code each: an
    exception in between would lose the descriptor, or close that of somebody else later.
    """

    __slots__ = ("__weakref__", "_descriptors")

    def __init__(self, name: str) -> None:
        self._descriptors: list[int] = []
        self._descriptors.extend(map(os.open, (name,), (_FLAGS,)))

    @property
    def descriptor(self) -> int:
        """Its descriptor, until it is closed."""
        return self._descriptors[0]

    def unlock_and_close(self) -> None:
        """Let others lock it. Safe to call twice."""
        if self._descriptors:
            with suppress(OSError):  # it may never have been locked
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # gevent's close() comes later
            self.close()

    def close(self) -> None:
        """Close it, but leave the lock to other processes that have it. Safe to call twice."""
        if self._descriptors:
            any(map(os.close, map(self._descriptors.pop, (0,))))

    def __del__(self) -> None:
        self.unlock_and_close()


_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_locked: WeakSet[_Folder] = WeakSet()
"""The folders that this process has locked, for a child that is forked meanwhile."""
_in_vain: dict[tuple[int, int], float] = {}
"""Until when not to wait for a folder, by device and inode."""


@contextmanager
def one_at_a_time(file: Path | None) -> Iterator[None]:
    """Close connections to ``file`` in this block, while no other process does.

    Blocks for at most ``PATIENCE`` seconds, and goes on without the lock where there is none to
    be had: on a file system that has no locks, in a folder that may not be read. Whoever has
    waited in vain has waited for everybody: for some seconds, connections to files of that
    folder are closed without waiting, so that many of them take no longer than one.
    """
    folder = None if file is None else _open_folder(file)
    if folder is None:
        yield
        return
    try:
        _locked.add(folder)
        _lock(folder.descriptor)
        yield
    finally:
        folder.unlock_and_close()


def forget_locks() -> None:
    """Close, in a forked child, the descriptors of the locks that the parent holds."""
    for folder in list(_locked):
        folder.close()  # to unlock it would unlock the parent's
    _locked.clear()
    _in_vain.clear()


def _open_folder(file: Path) -> _Folder | None:
    with suppress(OSError):  # a folder cannot be opened on Windows
        return _Folder(path.dirname(path.realpath(file)))
    return None


def _lock(folder: int) -> None:
    status = os.fstat(folder)
    key = status.st_dev, status.st_ino
    deadline = monotonic() + PATIENCE
    while not _try_to_lock(folder):
        now = monotonic()
        if now < _in_vain.get(key, 0.0):  # noted in this thread before, or in another just now
            return
        if now >= deadline:
            _in_vain[key] = now + _BURST
            return
        sleep(_TICK)
    _in_vain.pop(key, None)


def _try_to_lock(folder: int) -> bool:
    """Tell whether there is nothing to wait for: it is locked now, or cannot be."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
