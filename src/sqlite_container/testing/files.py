"""The files of temporary databases: where they are, and how they are made."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ..engine.engine import Engine
from ..errors import DatabaseClosed
from . import templates

_MEMORY = "/dev/shm"  # noqa: S108
"""A folder in memory, where a sync costs nothing."""
_ROOM = 256 * 2**20
"""Bytes that have to be free there, so that tests may write at will; in Docker it has 64 MB."""
_LARGE = 32 * 2**20
"""Bytes from which a copy is made on disk."""


class Place(NamedTuple):
    """A database file that is replaced, and whether the other begins with its data."""

    original: Path
    keep_data: bool


class TemporaryFolder:
    """The temporary files of one block.

    They are shared with processes that are forked meanwhile, and named after the originals:
    whoever needs a file first makes it, and the others use it.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._usual = tempfile.mkdtemp(prefix="sqlite_container-", dir=_memory())
        self._disk = tempfile.mkdtemp(prefix="sqlite_container-")
        self._files: dict[Path, Path] = {}

    def file_for(self, engine: Engine, place: Place) -> Path | None:
        """The file that takes the place of the engine's own."""
        self.check(engine)
        if place.original not in self._files:
            exists = engine.file is not None and os.path.exists(engine.file)
            if not exists and engine.config.mode != "rwc":
                return engine.file  # as without the block, that is an error
            self._make(engine, place.original, keep_data=place.keep_data and exists)
        return self._files[place.original]

    def holds(self, file: Path | None) -> bool:
        """Whether it is one of its files."""
        return file is not None and os.path.dirname(file) in (self._usual, self._disk)

    def check(self, engine: Engine) -> None:
        """Raise :class:`DatabaseClosed` if it is gone: a process may outlive its parent's block."""
        if os.getpid() != self._process and not os.path.exists(self._usual):
            raise DatabaseClosed(
                f"{engine.place}: this process was forked within a temporary_databases() block"
                " that is over; end it there"
            )

    def remove(self) -> None:
        """Delete everything; a process that was forked meanwhile leaves it alone."""
        templates.forget(self.holds)
        if os.getpid() == self._process:
            for file in self._files.values():
                with contextlib.suppress(OSError):
                    os.unlink(file)
            for folder in (self._usual, self._disk):
                _remove(folder)

    def _make(self, engine: Engine, original: Path, *, keep_data: bool) -> None:
        folder = self._folder_for(engine, keep_data=keep_data)
        file, draft = _names(folder, original)
        with engine.explained():
            templates.write(draft, engine, keep_data=keep_data)
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(draft, file)
        os.unlink(draft)
        self._files[original] = Path(file)

    def _folder_for(self, engine: Engine, *, keep_data: bool) -> str:
        if not keep_data or engine.file is None or os.path.getsize(engine.file) < _LARGE:
            return self._usual
        return self._disk


_numbers = count()


def _names(folder: str, original: Path) -> tuple[str, str]:
    """The same name for the same original in every process, and one that is used only once."""
    mark = blake2b(os.fsencode(original), digest_size=8).hexdigest()
    file = os.path.join(folder, f"{mark}-{original.name[-50:]}")
    return file, os.path.join(folder, f"{os.getpid()}-{next(_numbers)}")


def _memory() -> str | None:
    """The folder in memory if it has room to spare, or None for the usual one."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return None


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        pass  # there was no large file, or a test has deleted it
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
