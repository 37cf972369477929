"""What lends one connection of each database to everything that runs in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

from ..connection.borrower import Borrower, Call
from ..connection.connection import Connection
from ..database.database import Database
from ..errors import OutsideAppContext


class Scope(Borrower):
    """The connections of one app context: each is lent at its first use, and given back once.

    ``_lock`` guards lending: two threads of one request that ask at the same moment get the
    same connection.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_lock",
        "connections",
        "expected",
        "readers",
        "sender",
        "streaming",
    )

    def __init__(self, context: ref[Any], called_from: Call | None) -> None:
        self.thread = threading.current_thread()
        self.called_from = called_from
        self.expected = context
        self.connections: dict[Database, Connection] = {}
        self.readers: dict[Database, Connection] = {}
        self.streaming = False
        self.sender = 0  # the thread that runs the body at this moment, in whichever context
        self._ended = False
        self._lock = threading.Lock()

    def may_use_it_here(self) -> bool:
        context = self.expected()
        is_in_context = context is not None and self.current(None) is context
        return is_in_context or self.sender == threading.get_ident()

    def gone(self) -> bool:
        return self.unwound or self.expected() is None

    def lend(self, database: Database, *, read_only: bool) -> Connection:
        """This scope's connection to ``database``. Raises what :meth:`Database.connection` does."""
        held = self.readers if read_only else self.connections
        with self._lock:
            connection = held.get(database)
            if connection is None:
                connection = held[database] = database.lend(self, read_only=read_only)
            return connection

    def release(self) -> None:
        """Give everything back. Safe to call twice."""
        for held in (self.connections, self.readers):
            while held:
                _, connection = held.popitem()
                connection.home.give_back(connection, self)

    def forget(self) -> None:
        """In a forked child: the connections are the parent's; others are lent when asked for."""
        self.connections.clear()
        self.readers.clear()
        self._lock = threading.Lock()

    def end(self) -> None:
        """The context ends. What a response's body still needs goes back when that is sent."""
        self._ended = True
        if not self.streaming:
            self.release()

    def body_sent(self) -> None:
        """The response's body is sent, or nobody wants it any more. Safe to call twice."""
        self.streaming = False
        if self._ended:
            self.release()

    @property
    def held(self) -> list[Connection]:
        """The connections that are out to this scope."""
        return [*self.connections.values(), *self.readers.values()]


def _no_scope() -> Any:
    raise OutsideAppContext(
        "a connection is lent to the context of an app that has the container, and none has one"
        " yet: call sqlite_container.flask.init_app(app, container) when the app is created;"
        " without an app use 'with database.connection() as db:'"
    )


find: Callable[[], Scope] = _no_scope
"""The scope of the code that runs now. Raises :class:`OutsideAppContext`."""


def install(finder: Callable[[], Scope]) -> None:
    """Let a framework say which scope the code that runs now belongs to."""
    global find
    find = finder
