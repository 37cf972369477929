"""Where tests reach into every database: which file it opens, and who may not use it.

In production nothing is in either list.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine.engine import Engine

substitutes: list[Callable[[Any, Engine], Path | None]] = []
"""Asked one after the other, whenever a database opens, for the file to use."""
refusals: list[Callable[[Any, Engine], None]] = []
"""Called whenever a database opens and before each loan, to refuse it by raising."""


def substitute(database: object, engine: Engine) -> None:
    """Have a database that opens use another file, if a test has one for it."""
    for file_for in substitutes:
        engine.file = file_for(database, engine)


def refuse(database: object, engine: Engine) -> None:
    """Raise whatever a test has to raise for a database that is about to be used."""
    for each in refusals:
        each(database, engine)
