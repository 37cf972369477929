"""A connection around a fork: parked, opened again, or left to the parent.

``parked`` says that the handle was closed for a fork, and that the next use opens another one;
``foreign`` that the connection was inherited, and is only for the parent.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol, cast

from ..sqlite.after_fork import keep_for_ever
from .inside import Mark
from .lender import Lender
from .open_cursors import OpenCursors


class Parkable(Protocol):
    """A connection, as far as a fork is concerned."""

    lender: Lender
    cursors: OpenCursors
    running: Mark | None
    borrower: Any
    closed: bool
    parked: bool
    foreign: bool
    __slots__: Any

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def revoke(self, why: str) -> None:
        """Refuse every further use."""
        ...


def park(db: Parkable) -> bool:
    """Give up the handle before a fork, if nothing is open on it. Tell whether it is gone.

    Called by the thread that forks. Whoever uses the connection says so first and looks at
    ``parked`` then; here it is the other way round. So one of the two always sees the other.
    """
    if not db.closed and not db.parked:
        db.parked = True
        if db.running or db.in_transaction or any(True for _ in db.cursors):
            db.parked = False
        else:
            with db.lender.write_lock.closing:
                sqlite3.Connection.close(cast(sqlite3.Connection, db))
    return db.closed or db.parked


def unpark(db: Parkable, mark: Mark) -> None:
    """Have another handle opened; what runs is nothing to wait for until it is there."""
    while db.parked:
        db.running = mark[3]
        db.lender.reopen(db)
        db.running = mark


def open_again(db: Parkable, **arguments: Any) -> None:
    """Open another handle in the place of a closed one; sqlite3 forgets all attributes."""
    names = [name for name in type(db).__slots__ if name != "__weakref__"]
    state = {name: getattr(db, name) for name in names}
    try:
        sqlite3.Connection.__init__(cast(sqlite3.Connection, db), **arguments)
    finally:
        for name, value in state.items():
            setattr(db, name, value)


def leave_to_parent(db: Parkable) -> None:
    """Refuse every use in a forked child; never be closed, rolled back or finalized there."""
    db.revoke(
        f"this connection to database {db.lender.name!r} was opened before this process was"
        " forked; only the parent may use it, ask for a connection of your own"
    )
    db.borrower = None
    db.foreign = True
    keep_for_ever(db)
    db.cursors.keep_for_ever()
