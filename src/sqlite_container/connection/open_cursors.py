"""The cursors and blobs that were opened through a connection."""

from __future__ import annotations

import sqlite3
from typing import Any
from weakref import ref

from ..sqlite.fork_safety import keep_for_ever
from .cursor import turn_into_returned

_MANY = 64
"""References after which those to dead cursors are sorted out."""


class Children:
    """Those that somebody still refers to. They end with the loan that they were opened in.

    Only the connection's user adds to it; any thread may look at it.
    """

    __slots__ = ("_blobs", "_cursors", "_limit")

    def __init__(self) -> None:
        self._cursors: list[ref[Any]] = []
        self._blobs: list[ref[sqlite3.Blob]] = []
        self._limit = _MANY

    def add(self, cursor: Any) -> None:
        """Remember it for as long as it lives."""
        cursors = self._cursors
        cursors.append(ref(cursor))  # sqlite3 has made the same reference: this costs little
        if len(cursors) > self._limit:
            self._cursors = [each for each in cursors if each() is not None]
            self._limit = _MANY + 2 * len(self._cursors)

    def add_blob(self, blob: sqlite3.Blob) -> None:
        """Remember it for as long as it lives."""
        self._blobs = [*(each for each in self._blobs if each() is not None), ref(blob)]

    def living(self) -> list[Any]:
        """Those that are there at this moment."""
        found = [each() for each in (*self._cursors, *self._blobs)]
        return [child for child in found if child is not None]

    def has_open_blob(self) -> bool:
        """Whether a blob among them may still be read or written."""
        return any(_is_open_blob(each()) for each in self._blobs) if self._blobs else False

    def giving_rows_since(self) -> list[float]:
        """When each cursor began that still has rows to give, as far as is known."""
        began = [getattr(child, "began", None) for child in self.living()]
        return [each for each in began if each is not None]

    def finish(self) -> None:
        """Close all of them; a cursor that somebody kept can say why."""
        for reference in self._cursors:
            if (cursor := reference()) is not None:
                sqlite3.Cursor.close(cursor)
                turn_into_returned(cursor)
        for blob in self._blobs:
            if (open_blob := blob()) is not None:
                open_blob.close()
        if self._cursors or self._blobs:
            self._cursors, self._blobs = [], []

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
