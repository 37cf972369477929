"""A new database file, made whole under another name."""

from __future__ import annotations

import os
from contextlib import suppress
from os import path
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

_NAME = 50
"""Characters of the file's own name in that of its draft: names must not get too long."""


class Draft:
    """A file beside the one that is to be made; it is removed at the end of the block.

    Its name tells which process makes it. So what a killed process has left is removed by the
    next one that makes the same database.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._prefix = f"{target.name[:_NAME]}-new-"
        self.file = target.with_name(f"{self._prefix}{os.getpid()}-{uuid4().hex}")

    def __enter__(self) -> Self:
        self._remove_orphans()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _remove(self.file)

    def publish(self) -> None:
        """Let the file appear under its own name, unless another process was first.

        If the file system knows no second name for a file, SQLite makes the file in its place.
        """
        if not _has_journal(self.file) and not _has_journal(self._target):
            with suppress(OSError):
                os.link(self.file, self._target)

    def _remove_orphans(self) -> None:
        with suppress(OSError):
            for name in os.listdir(self._target.parent):
                if name.startswith(self._prefix) and _is_orphan(name[len(self._prefix) :]):
                    _remove(self._target.with_name(name))


def _is_orphan(mark: str) -> bool:
    """Tell whether the process that made a draft is dead."""
    process, _, rest = mark.partition("-")
    if not process.isdecimal() or len(rest) != 32:  # of a hexadecimal UUID
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            os.unlink(f"{file}{suffix}")


def _has_journal(file: Path) -> bool:
    """Tell whether SQLite would write into the file what is left of another one of that name."""
    return path.exists(f"{file}-wal") or path.exists(f"{file}-journal")
