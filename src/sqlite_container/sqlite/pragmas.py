"""Set a PRAGMA, and read it back: SQLite ignores what it does not know, without a word.

https://www.sqlite.org/pragma.html: "No error messages are generated if an unknown pragma is
issued."
"""

from __future__ import annotations

import sqlite3
from time import monotonic, sleep

from ..errors import DatabaseOpenError, did_you_mean
from .raw import execute, primary_code

Value = str | bool | int | float

_WORDS: dict[str, dict[str, int]] = {
    "synchronous": {"off": 0, "normal": 1, "full": 2, "extra": 3},
    "temp_store": {"default": 0, "file": 1, "memory": 2},
    "auto_vacuum": {"none": 0, "full": 1, "incremental": 2},
    "secure_delete": {"off": 0, "false": 0, "on": 1, "true": 1, "fast": 2},
}
_SWITCH = {"on": 1, "yes": 1, "true": 1, "off": 0, "no": 0, "false": 0}
_PAUSE = 0.01
"""Seconds between two tries to switch the journal mode."""


def set_pragma(connection: sqlite3.Connection, name: str, value: Value) -> None:
    """Set a pragma. Raises :class:`DatabaseOpenError` if it did not take, or if there is none."""
    expected = _normal(name, value)
    execute(connection, f"PRAGMA {name} = {_literal(value)}").fetchall()
    row = execute(connection, f"PRAGMA {name}").fetchone()
    if row is None:
        _check_known(connection, name)
    elif not _same(_normal(name, row[0]), expected):
        raise DatabaseOpenError(
            f"PRAGMA {name} = {value} did not take, it is still {row[0]!r}; some pragmas work only"
            " before a database has its first table, some not at all in this SQLite"
            f" ({sqlite3.sqlite_version})"
        )


def set_journal_mode(
    connection: sqlite3.Connection, wanted: str, timeout: float, *, keep_wal: bool
) -> None:
    """Set the journal mode of the file, trying for at most ``timeout`` seconds.

    SQLite does not wait by itself here: the switch needs the file for itself. Raises
    :class:`DatabaseOpenError` if it is refused. With ``keep_wal`` a file stays in WAL mode that
    another process has switched to it, and uses.
    """
    mode = execute(connection, "PRAGMA journal_mode").fetchone()[0]
    keep_wal = keep_wal and mode == "wal"
    if keep_wal:
        timeout = 0.0
    deadline = monotonic() + timeout
    while mode != wanted:
        try:
            mode = execute(connection, f"PRAGMA journal_mode = {wanted}").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY and keep_wal:
                return
            if primary_code(error) != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                problem = f"journal_mode {wanted!r} cannot be set: {error}"
                raise DatabaseOpenError(problem) from error
            sleep(_PAUSE)
    if mode != wanted:
        raise DatabaseOpenError(
            f"journal_mode {wanted!r} was refused, it is still {mode!r}; the file"
            " system may not support it, or another connection is using the database"
        )


def _check_known(connection: sqlite3.Connection, name: str) -> None:
    known = [row[0] for row in execute(connection, "PRAGMA pragma_list")]
    if name not in known:
        raise DatabaseOpenError(f"there is no PRAGMA {name}{did_you_mean(name, known)}")


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return "'{}'".format(value.replace("'", "''"))
    return str(int(value)) if isinstance(value, bool) else str(value)


def _normal(name: str, value: Value) -> object:
    """Return the value as SQLite answers it: words are numbers, switches are 0 and 1."""
    if not isinstance(value, str):
        return float(value)
    word = value.lower()
    words = _WORDS.get(name, _SWITCH)
    try:
        return float(words.get(word, word))
    except ValueError:
        return word


def _same(found: object, expected: object) -> bool:
    if isinstance(found, str) and isinstance(expected, str):
        return found.startswith(expected)  # UTF-16 is answered as UTF-16le
    return found == expected
