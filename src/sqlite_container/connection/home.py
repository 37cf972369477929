"""What a connection knows of the database it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..writing.write_lock import Turn
from .borrower import Borrower


class Home:
    """One for each open database; its pool fills in the last three."""

    __slots__ = (
        "busy_timeout",
        "closing",
        "give_back",
        "look_after",
        "name",
        "reopen",
        "row_factory",
        "statement_timeout",
        "turn",
    )

    def __init__(
        self,
        name: str,
        turn: Turn,
        *,
        busy_timeout: float = 5.0,
        statement_timeout: float | None = None,
        row_factory: Any = None,
    ) -> None:
        self.name = name
        self.turn = turn
        self.busy_timeout = busy_timeout
        self.statement_timeout = statement_timeout
        self.row_factory = row_factory
        self.closing = False
        self.look_after: Callable[[], None] = lambda: None
        self.reopen: Callable[[Any], None] = lambda _: None
        self.give_back: Callable[[Any, Borrower], None] = lambda *_: None
