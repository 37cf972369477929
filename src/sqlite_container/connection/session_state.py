"""What a borrower changes on a connection that the next one could notice.

A connection that was changed so is not repaired but replaced; the attributes of sqlite3's, which
are set back cheaply, are the exception. Both are told by the words of a statement.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any, Protocol, cast

from ..sqlite import raw, statements
from ..sqlite.statements import Kind
from . import error_translation
from .lender import Lender


class Changeable(Protocol):
    """A connection, as far as its state is concerned."""

    altered: str | None
    read_only: bool
    lender: Lender


def note_changes(db: Changeable, kind: Kind | None, sql: str, parameters: Any) -> None:
    """Note what a statement changes; ``kind`` is None for a script.

    Raises :class:`ReadOnlyConnection` where a reader would become a writer, or make a file.
    """
    each_of = [sql] if kind is not None else [text for _, text in statements.split(sql)]
    for statement in each_of:
        changed = statements.setting_changed(statement)
        if db.read_only and _would_write(db, statement, changed, parameters):
            raise error_translation.read_only(db.lender.name, statement)
        db.altered = changed or db.altered
    if kind is not Kind.SETTING and statements.may_be_temporary(sql):
        db.altered = "something temporary"


def _would_write(db: Changeable, sql: str, changed: str, parameters: Any) -> bool:
    """Tell whether a reader would write by what is no change of its own database."""
    expression = statements.attached_file(sql)
    if expression is None:
        return changed == "PRAGMA query_only" or statements.writes_a_copy(sql)
    handle = cast(sqlite3.Connection, db)
    try:
        # As a blob, whatever its text_factory makes of a text.
        select = f"SELECT CAST({expression} AS BLOB)"
        file = os.fsdecode(raw.execute(handle, select, parameters).fetchone()[0] or b"")
    except sqlite3.Error:
        return True
    return file not in ("", ":memory:") and "mode=ro" not in file and not os.path.exists(file)
