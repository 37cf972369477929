"""The connections to a file are closed one at a time, whichever process they are in.

The last one to close removes the ``-wal`` file, and SQLite knows the last one by its being
alone: of two that close at the same moment, neither is. So the folder is locked meanwhile. A
lock on the database file itself would not do: letting go of it ends SQLite's own locks as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import path
from pathlib import Path
from time import monotonic, sleep

if sys.platform != "win32":  # there, a -wal file may stay when two processes end together
    import fcntl

PATIENCE = 1.0
"""Seconds to wait for another process that closes; without the lock a ``-wal`` may stay."""
_TICK = 0.001

_locked: set[int] = set()  # descriptors of folders that this process has locked


@contextmanager
def alone(file: Path | None) -> Iterator[None]:
    """Close connections to ``file`` in this block, while no other process does.

    Blocks for at most ``PATIENCE`` seconds, and goes on without the lock where there is none to
    be had: on a file system that has no locks, in a folder that may not be read.
    """
    folder = None if file is None else _open_folder(file)
    if folder is None:
        yield
        return
    _locked.add(folder)
    try:
        _lock(folder)
        yield
    finally:
        _locked.discard(folder)
        _unlock(folder)


def forget() -> None:
    """In a forked child: a lock that the parent holds is not held here too."""
    while _locked:
        with suppress(OSError):
            os.close(_locked.pop())


def _open_folder(file: Path) -> int | None:
    with suppress(OSError):  # a folder cannot be opened on Windows
        return os.open(path.dirname(path.realpath(file)), os.O_RDONLY)
    return None


def _lock(folder: int) -> None:
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(_TICK)
        except OSError:
            return
        else:
            return


def _unlock(folder: int) -> None:
    with suppress(OSError):  # it may never have been locked
        fcntl.flock(folder, fcntl.LOCK_UN)  # gevent's close() comes later, or not at all
    os.close(folder)
