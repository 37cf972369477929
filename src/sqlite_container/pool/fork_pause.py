"""A pool around a fork: nothing is carried across it.

Idle connections are closed before it. Those that are out lose their handle too, unless they are
in a transaction or have a cursor open; each gets a new one when it is used next.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from threading import get_ident
from time import sleep
from typing import Protocol

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..connection.parking import leave_to_parent, park
from ..engine.engine import Engine
from ..sqlite.after_fork import keep_for_ever

_TICK = 0.001
"""Seconds between two looks whether the fork is over; a fork takes about as long."""


class Forking(Protocol):
    """The pool, as far as a fork concerns it."""

    engine: Engine

    @property
    def lock(self) -> threading.Lock:
        """Guards the fields of the pause, too."""
        ...

    @property
    def known(self) -> set[Connection]:
        """Every connection that is open."""
        ...

    @property
    def being_opened(self) -> bool:
        """Whether a connection is being opened."""
        ...

    def take_idle(self) -> list[Connection]:
        """Take out everything that is idle."""
        ...

    def out(self) -> list[tuple[Connection, Borrower]]:
        """The connections that are out, and to whom."""
        ...

    def discard(self, connection: Connection) -> None:
        """Close a connection."""
        ...


class ForkPause:
    """Parks the connections of a pool before a fork, and opens them again after it."""

    __slots__ = ("_pool", "_reopening", "thread")

    def __init__(self, pool: Forking) -> None:
        self._pool = pool
        self.thread = 0  # the one that forks now
        self._reopening: set[Connection] = set()  # what has no attributes at the moment

    @property
    def is_on(self) -> bool:
        """Whether another thread forks now."""
        return self.thread != 0 and self.thread != get_ident()

    def wait(self) -> None:
        """Wait until no other thread forks. The pool's lock is not held."""
        while self.is_on:
            sleep(_TICK)

    def whole(self, out: Mapping[Connection, Borrower]) -> list[tuple[Connection, Borrower]]:
        """Return what is out and has its attributes. The pool's lock is held."""
        return [each for each in list(out.items()) if each[0] not in self._reopening]

    def begin(self) -> bool:
        """Close what can be closed before a fork; tell whether to wait for no other thread."""
        pool = self._pool
        self.thread = get_ident()
        for connection in pool.take_idle():
            pool.discard(connection)
        left = [connection for connection, _ in pool.out() if not park(connection)]
        is_quiet = not pool.being_opened and not self._reopening
        return is_quiet and all(each.thread == self.thread for each in left)

    def is_over(self) -> None:
        """Let those go on, in the parent, who waited for the fork."""
        self.thread = 0

    def forget(self, out: list[Borrower]) -> None:
        """Leave what was inherited, in the child, for ever."""
        pool = self._pool
        for borrower in out:
            borrower.forget()
        for connection in pool.known:
            if connection in self._reopening:
                keep_for_ever(connection)
            else:
                leave_to_parent(connection)
        is_quiet = not pool.being_opened and not self._reopening
        clean = is_quiet and all(each.parked for each in pool.known)
        pool.engine.forget(clean=clean)

    def reopen(self, connection: Connection) -> None:
        """Give a connection that is parked a handle again, after the fork.

        It may turn out that it keeps its handle, because it was in use: see ``park()``.
        """
        while connection.parked and self.is_on:
            sleep(_TICK)
        with self._pool.lock:
            if not connection.parked:
                return
            self._reopening.add(connection)
        try:
            self._pool.engine.reopen(connection)
        finally:
            with self._pool.lock:
                self._reopening.discard(connection)
