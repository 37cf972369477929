"""What lends one connection of each database to everything that runs in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..database.database import Database
from ..errors import OutsideAppContext


class Scope(Borrower, Protocol):
    """The connections of one app context: each is lent at its first use, and given back once."""

    connections: dict[Database, Connection]
    readers: dict[Database, Connection]
    streaming: bool

    def lend(self, database: Database, *, read_only: bool) -> Connection:
        """Return this scope's connection to ``database``. Raises what :meth:`Pool.lend` does."""
        ...

    def release(self) -> None:
        """Give everything back. Safe to call twice."""
        ...


class ScopeFinder:
    """Finds the scope of the code that runs now, in the way of the framework that it runs in."""

    def __init__(self) -> None:
        self.find: Callable[[], Scope] = no_scope

    def install(self, find: Callable[[], Scope]) -> None:
        """Let a framework say how; ``find`` raises :class:`OutsideAppContext`."""
        self.find = find


def no_scope() -> Scope:
    """Raise :class:`OutsideAppContext`, where no framework has a scope yet."""
    raise OutsideAppContext(
        "a connection is lent to the context of an app that has the container, and none has one"
        " yet: call sqlite_container.flask.init_app(app, container) when the app is created;"
        " without an app use 'with database.connection() as db:'"
    )


scopes = ScopeFinder()
