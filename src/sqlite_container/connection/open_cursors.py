"""The cursors and blobs that were opened through a connection, and are still there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any
from weakref import ref

from ..sqlite.after_fork import keep_for_ever
from .blob import Blob
from .cursor import turn_into_returned

_MANY = 64
"""References after which those to dead cursors are sorted out."""


class OpenCursors:
    """Cursors and blobs that somebody still refers to. They end with the loan.

    Only the connection's user adds to them; any thread may look at them.
    """

    __slots__ = ("_blobs", "_cursors", "_limit", "_writing", "may_write")

    def __init__(self) -> None:
        self._cursors: list[ref[Any]] = []
        self._writing: list[ref[Any]] = []  # the cursors of them that may have rows to give yet
        self._blobs: list[ref[Blob]] = []
        self._limit = _MANY
        self.may_write = False  # whether it is worth while to ask still_write()

    def add(self, cursor: Any) -> None:
        """Remember a cursor for as long as it lives."""
        cursors = self._cursors
        cursors.append(ref(cursor))  # sqlite3 has made the same reference: this costs little
        if len(cursors) > self._limit:
            self._cursors = [each for each in cursors if each() is not None]
            self._limit = _MANY + 2 * len(self._cursors)

    def add_writing(self, cursor: Any) -> None:
        """Remember one whose statement writes, and has rows to give."""
        self.may_write = True
        self._writing = [ref(cursor), *map(ref, self._still_writing())]

    def add_blob(self, blob: Blob) -> None:
        """Remember a blob for as long as it lives."""
        self.may_write = True
        self._blobs = [*(each for each in self._blobs if each() is not None), ref(blob)]

    def __iter__(self) -> Iterator[Any]:
        """Yield what is there at this moment."""
        for reference in (*self._cursors, *self._blobs):
            if (found := reference()) is not None:
                yield found

    def has_open_blob(self) -> bool:
        """Tell whether a blob may still be read or written."""
        return any(blob.is_open for blob in self._living_blobs())

    def still_write(self) -> bool:
        """Tell whether SQLite keeps the lock for one of them: a blob, an unread RETURNING."""
        if not self._writing and not self._blobs:
            return False
        blobs = any(blob.is_open and blob.writes for blob in self._living_blobs())
        return blobs or bool(self._still_writing())

    def reading_since(self) -> list[float]:
        """Return since when each cursor has rows to give."""
        began = [getattr(cursor, "began", None) for cursor in self]
        return [each for each in began if each is not None]

    def end_writing(self) -> None:
        """Finish the statements that write and have rows to give yet, and close such blobs."""
        for cursor in self._still_writing():
            sqlite3.Cursor.execute(cursor, "SELECT 1 WHERE 0")
            cursor.began = None
        for blob in self._living_blobs():
            if blob.writes:
                blob.finish()

    def finish(self) -> None:
        """Close all of them; a cursor that somebody kept can say why."""
        if not self._cursors and not self._blobs:
            return
        for reference in self._cursors:
            if (cursor := reference()) is not None:
                sqlite3.Cursor.close(cursor)
                turn_into_returned(cursor)
        for blob in self._living_blobs():
            blob.finish()
        self._cursors, self._blobs, self._writing = [], [], []
        self.may_write = False

    def keep_for_ever(self) -> None:
        """Leave them, in a forked child: they are the parent's, and are never finalized here."""
        for each in self:
            keep_for_ever(each.handle if isinstance(each, Blob) else each)
            turn_into_returned(each)

    def _living_blobs(self) -> list[Blob]:
        return [blob for each in self._blobs if (blob := each()) is not None]

    def _still_writing(self) -> list[Any]:
        cursors = [reference() for reference in self._writing]
        return [each for each in cursors if getattr(each, "began", None) is not None]
