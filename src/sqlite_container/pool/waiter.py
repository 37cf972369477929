"""A thread that waits for a connection."""

from __future__ import annotations

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..threads.bell import Bell


class Waiter:
    """A thread in the queue. What it is granted, it is granted under the pool's lock."""

    __slots__ = ("bell", "borrower", "connection", "granted")

    def __init__(self, borrower: Borrower) -> None:
        self.borrower = borrower
        self.connection: Connection | None = None
        self.granted = False
        self.bell = Bell()

    def grant(self, connection: Connection | None) -> None:
        """Give it a connection, or with None the right to open one. Its bell is rung after it."""
        self.connection = connection
        self.granted = True
