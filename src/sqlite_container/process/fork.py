"""A fork copies the process, but SQLite's connections cannot be copied.

SQLite forbids to carry an open connection across a fork. So idle connections are closed before
it, and so are the handles of those that are out but have nothing going on; both sides open new
ones when they need them. What is in a transaction at that moment is waited for, for a while.
What is still open then stays the parent's: the child never closes, uses or finalizes it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from time import monotonic, sleep

from ..database.database import Database, known
from ..engine import engine
from ..sqlite import close_lock as alone
from ..writing import write_lock as turn

PATIENCE = 1.0
"""Seconds to wait, before a fork, for the transactions of other threads."""

_one_at_a_time = threading.Lock()
_amid_statement = False


def _before() -> None:
    global _amid_statement
    _one_at_a_time.acquire()
    deadline = monotonic() + PATIENCE
    for database in _databases():
        database.hold(deadline - monotonic())
    while not _park_all() and monotonic() < deadline:
        sleep(0.001)
    _amid_statement = any(database.runs_elsewhere() for database in _databases())


def _park_all() -> bool:
    parked = [database.park() for database in _databases()]  # every one of them, so a list
    return all(parked)


def _in_parent() -> None:
    try:
        for database in _databases():
            database.fork_is_over()
    finally:
        _one_at_a_time.release()


def _in_child() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()
    turn.forget()
    alone.forget()
    if _amid_statement:
        engine.distrust()
    for database in _databases():
        database.forget()


def _databases() -> list[Database]:
    """Every one that is known; again, if another thread has made one meanwhile."""
    while True:
        with suppress(RuntimeError):
            return list(known)


def prepare() -> None:
    """Take part in every fork of this process from now on."""
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
