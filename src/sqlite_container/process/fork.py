"""A fork copies the process, but SQLite's connections cannot be copied.

SQLite forbids to carry an open connection across a fork
(https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_).
So idle connections are closed before it, and so are the handles of those that are out but have
nothing going on; both sides open new ones when they need them. What is in a transaction at that
moment is waited for, for a while. What is still open then stays the parent's: the child never
closes, uses or finalizes it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from time import monotonic, sleep

from ..database.database import Database, known
from ..engine import after_fork
from ..sqlite import closing
from ..writing import write_lock

PATIENCE = 1.0
"""Seconds to wait, before a fork, for the transactions of other threads."""


class _Fork:
    """``lock`` lets one thread fork at a time; a forked child has a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.amid_statement = False


_fork = _Fork()


def _before() -> None:
    _fork.lock.acquire()
    deadline = monotonic() + PATIENCE
    for database in _databases():
        database.hold(deadline - monotonic())
    while not _park_all() and monotonic() < deadline:
        sleep(0.001)
    _fork.amid_statement = any(database.runs_elsewhere() for database in _databases())


def _park_all() -> bool:
    parked = [database.park() for database in _databases()]  # every one of them, so a list
    return all(parked)


def _in_parent() -> None:
    try:
        for database in _databases():
            database.fork_is_over()
    finally:
        _fork.lock.release()


def _in_child() -> None:
    _fork.lock = threading.Lock()
    write_lock.forget_locks()
    closing.forget_locks()
    if _fork.amid_statement:
        after_fork.distrust_sqlite()
    for database in _databases():
        database.forget()


def _databases() -> list[Database]:
    """Return every one that is known; again, if another thread has made one meanwhile."""
    while True:
        with suppress(RuntimeError):
            return list(known)


def prepare() -> None:
    """Take part in every fork of this process from now on."""
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
