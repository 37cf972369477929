"""What a connection knows of the database it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .borrower import Borrower
from .turn import Turn


@dataclass(slots=True)
class Home:
    """One for each open database; its pool fills in the last three."""

    name: str
    turn: Turn
    busy_timeout: float = 5.0
    statement_timeout: float | None = None
    row_factory: Any = None
    closing: bool = False
    look_after: Callable[[], None] = lambda: None
    reopen: Callable[[Any], None] = lambda _: None
    give_back: Callable[[Any, Borrower], None] = lambda *_: None
