"""What a connection knows of the pool that lends it."""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol

from ..writing.write_lock import WriteLock


class Lender(Protocol):
    """A pool, as its connections see it. It is there, whole, before the first of them."""

    name: str
    write_lock: WriteLock
    busy_timeout: float
    statement_timeout: float | None
    row_factory: Any
    text_factory: Any
    closing: bool

    def give_back(self, connection: Any, borrower: Any) -> None:
        """End a loan."""
        ...

    def begin_stream(self, borrower: Any) -> None:
        """Let a borrower keep its connections while it streams, unless too many do."""
        ...

    def finish_return(self, connection: Any) -> None:
        """End a loan that was over while somebody was inside the connection."""
        ...

    def reopen(self, connection: Any) -> None:
        """Give a connection that was parked for a fork a handle again."""
        ...

    def look_after(self) -> None:
        """Reclaim what nobody will give back."""
        ...

    def other_writers(self, connection: sqlite3.Connection) -> list[str]:
        """Return who of this process has a transaction open on another connection, in words."""
        ...
