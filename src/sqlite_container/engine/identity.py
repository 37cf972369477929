"""Whether the file at the path is still the one that is open.

Nobody is told when a file is deleted, moved or replaced while it is open: what is written goes
where nobody will see it (https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import DatabaseReplaced

Identity = tuple[int, int]
"""Device and inode: what two names of the same file have in common."""


def identity_of(file: str | os.PathLike[str]) -> Identity | None:
    """Return the identity of a file; None if there is none."""
    with suppress(OSError, ValueError):
        status = os.stat(file)
        return status.st_dev, status.st_ino
    return None


def names_of(file: str | os.PathLike[str]) -> list[object]:
    """Return the real path of a file, and its identity if it is there: hard links share that."""
    identity = identity_of(file)
    return [os.path.realpath(file), *([] if identity is None else [identity])]


class OpenFile:
    """A database file and its write-ahead log, as they were when they were opened."""

    def __init__(self, file: Path, place: str) -> None:
        self.file = file
        self.is_replaced = False
        self._place = place
        self._identity = identity_of(file)
        self._wal: Identity | None = None
        self._has_content = False

    def opened(self) -> None:
        """Note what belongs to it: a connection was opened."""
        self._wal = identity_of(f"{self.file}-wal") or self._wal

    def check(self) -> None:
        """Raise :class:`DatabaseReplaced` if the path leads to another file, or to none."""
        problem = self._problem()
        if problem:
            self.is_replaced = True
            raise DatabaseReplaced(
                f"{self._place}: {problem} while it was open; nothing more is written to what is"
                " still open. Put the right file at the path, then close the database"
                " (database.close(), or container.shutdown_resources()) and open it again"
            )

    def _problem(self) -> str:
        try:
            status = os.stat(self.file)
        except OSError:
            return "the file was deleted or moved"
        if (status.st_dev, status.st_ino) != self._identity:
            return "the file was replaced by another one"
        if self._has_content and not status.st_size:
            return "the file was emptied"
        self._has_content = status.st_size > 0
        return ""

    def remove_left_wal(self) -> None:
        """Remove the write-ahead log of the file that was open, if it is still at the path.

        SQLite would take it for that of the file which is there now.
        """
        if self._wal is not None and identity_of(f"{self.file}-wal") == self._wal:
            for suffix in ("-wal", "-shm"):
                with suppress(OSError):
                    os.unlink(f"{self.file}{suffix}")
