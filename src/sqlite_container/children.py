"""The cursors and blobs that were opened through a connection."""

from __future__ import annotations

import sqlite3
from typing import Any
from weakref import ref

from .cursor import Cursor, turn_into_returned
from .inherit import keep_for_ever


class Children:
    """Those that somebody still refers to. They end with the loan that they were opened in."""

    __slots__ = ("_discard", "_refs")

    def __init__(self) -> None:
        self._refs: set[ref[Any]] = set()
        self._discard = self._refs.discard

    def add(self, child: Any) -> None:
        """Remember it for as long as it lives."""
        self._refs.add(ref(child, self._discard))

    def living(self) -> list[Any]:
        """Those that are there at this moment."""
        found = [each() for each in list(self._refs)]
        return [child for child in found if child is not None]

    def has_open_blob(self) -> bool:
        """Whether a blob among them may still be read or written."""
        return bool(self._refs) and any(_is_open_blob(child) for child in self.living())

    def giving_rows_since(self) -> list[float]:
        """When each cursor began that still has rows to give, as far as is known."""
        cursors = [child for child in self.living() if isinstance(child, Cursor)]
        return [each.began for each in cursors if each.began is not None and each.description]

    def finish(self) -> None:
        """Close all of them; a cursor that somebody kept can say why."""
        if not self._refs:
            return
        for child in self.living():
            if isinstance(child, sqlite3.Cursor):
                sqlite3.Cursor.close(child)
                turn_into_returned(child)
            else:
                child.close()
        self._refs.clear()

    def inherited(self) -> None:
        """In a forked child: they are the parent's, and are never finalized here."""
        for child in self.living():
            keep_for_ever(child)
            turn_into_returned(child)


def _is_open_blob(child: Any) -> bool:
    try:
        return isinstance(child, sqlite3.Blob) and len(child) >= 0
    except sqlite3.ProgrammingError:
        return False
