"""What SQLite only calls "unable to open database file", in plain words.

The database file itself is never opened here: closing it would end SQLite's own locks.
"""

from __future__ import annotations

import errno
import os
from os import path
from pathlib import Path

from ..errors import DatabaseOpenError


def check(file: Path, mode: str, *, has_journal: bool) -> None:
    """Raise :class:`DatabaseOpenError` for a file that cannot be opened in this mode.

    Without a journal beside it, a file can be written in a folder that cannot.
    """
    _check_way(file)
    _check_folder(file.parent)
    if path.islink(file):
        file = Path(path.realpath(file))  # SQLite keeps the journal beside this one
        _check_folder(file.parent, f"it is a symbolic link to {str(file)!r}, and ")
    _check_access(file, file.parent, mode, has_journal=has_journal)


def _check_way(file: Path) -> None:
    """Refuse a path that cannot be followed to its end."""
    try:
        os.stat(file)
    except PermissionError as error:
        raise DatabaseOpenError(
            f"no permission to enter the folder {_barred(file)!r}; let this user enter it"
            " (chmod +x), or name a file elsewhere"
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            problem = "its path has symbolic links that lead in a circle; mend them"
            raise DatabaseOpenError(problem) from error


def _check_folder(folder: Path, link: str = "") -> None:
    if not path.isdir(folder):
        raise DatabaseOpenError(f"{link}there is no folder {str(folder)!r}; create it first")


def _check_access(file: Path, folder: Path, mode: str, *, has_journal: bool) -> None:
    if path.isdir(file):
        raise DatabaseOpenError("the path is a folder; name a file in it")
    if path.exists(file):
        _check_permissions(file, folder, mode, has_journal=has_journal)
    else:
        _check_creation(folder, mode)


def _check_creation(folder: Path, mode: str) -> None:
    if mode != "rwc":
        raise DatabaseOpenError(
            f"there is no such file, and mode {mode!r} creates none; 'rwc' would"
        )
    if not os.access(folder, os.W_OK):
        raise DatabaseOpenError(f"no permission to create a file in {str(folder)!r}")


def _check_permissions(file: Path, folder: Path, mode: str, *, has_journal: bool) -> None:
    if not os.access(file, os.R_OK):
        raise DatabaseOpenError("no permission to read the file")
    if mode == "ro":
        return
    if not os.access(file, os.W_OK):
        raise DatabaseOpenError("no permission to write the file; use mode 'ro' to only read it")
    if has_journal and not os.access(folder, os.W_OK):
        raise DatabaseOpenError(
            f"no permission to write in the folder {str(folder)!r}, where SQLite keeps its"
            " journal; use mode 'ro' to only read the database"
        )
    if path.exists(f"{file}-wal") and (problem := side_file_barred(file, read_only=False)):
        raise DatabaseOpenError(problem)  # SQLite would open it, and fail when it is to write


def _barred(file: Path) -> str:
    """The first folder on the way to the file that may not be entered."""
    folders = [*reversed(Path(path.realpath(file)).parents)]
    return str(next((each for each in folders if not os.access(each, os.X_OK)), folders[-1]))


def side_file_barred(file: Path, *, read_only: bool) -> str:
    """What keeps this user from a file that SQLite keeps beside the database; "" if nothing."""
    verb, right = ("read", os.R_OK) if read_only else ("read and write", os.R_OK | os.W_OK)
    for side in (f"{file}-wal", f"{file}-shm", f"{file}-journal"):
        lacks = not os.access(side, right)
        if lacks and path.exists(side) and not os.access(side, right):  # it may just come or go
            return (
                f"no permission to {verb} {side!r}, which belongs to the database; give this user"
                " the same rights to it as to the database"
            )
    return ""


def no_place_for_shm(file: Path) -> str:
    """What keeps this user from reading a database in WAL mode; "" if nothing."""
    folder = str(file.parent)
    if os.access(folder, os.W_OK):
        return ""
    return (
        f"it is in WAL mode, so that even reading makes a file {f'{file}-shm'!r}, and there is no"
        f" permission to create files in the folder {folder!r}; let this user write there, have the"
        " database's owner set journal_mode 'delete', or, if nobody ever changes the file, set"
        " 'immutable: true' beside 'mode: ro'"
    )


def check_immutable(file: Path) -> None:
    """Raise :class:`DatabaseOpenError` if a log beside the file holds what is not in it yet.

    SQLite looks at neither in an immutable database: https://www.sqlite.org/uri.html#uriimmutable
    """
    for side, problem in (
        (f"{file}-wal", "holds rows that are not in the database file yet"),
        (f"{file}-journal", "is there, so that a transaction is half written"),
    ):
        if _is_in_use(side):
            raise DatabaseOpenError(
                f"{side!r} {problem}, and 'immutable: true' would ignore it; open the database"
                " once with mode 'rw' and close it, so that SQLite brings the file up to date, or"
                " leave out 'immutable'"
            )


def _is_in_use(side: str) -> bool:
    """Tell whether a -wal or -journal has contents; journal_mode PERSIST leaves zeros behind."""
    try:
        with open(side, "rb") as log:
            return log.read(_HEADER).strip(b"\0") != b""
    except FileNotFoundError:
        return False
    except OSError:
        return True


_HEADER = 8
"""Bytes, of which neither kind of log has only zeros: https://www.sqlite.org/fileformat2.html"""


def no_descriptors_left() -> str:
    """Say that this process cannot open any more files, if that is so."""
    opened: list[int] = []
    try:
        for _ in range(_DESCRIPTORS):
            opened.extend(map(os.open, (os.devnull,), (os.O_RDONLY,)))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return (
                "this process has as many files open as it may (see 'ulimit -n'), and each"
                f" connection takes up to {_DESCRIPTORS}; raise that limit, or keep fewer open:"
                " pool.max_size, pool.max_idle, and max_open of a SQLiteDict"
            )
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return ""


_DESCRIPTORS = 3
"""Of a connection in WAL mode: the database file, the ``-wal`` and the ``-shm``."""
