"""Set a PRAGMA, and read it back: SQLite ignores what it does not know, without a word.

https://www.sqlite.org/pragma.html: "No error messages are generated if an unknown pragma is
issued."
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from time import monotonic, sleep

from ..errors import DatabaseOpenError, did_you_mean
from .raw import execute, primary_code
from .statements import IN_THE_FILE

Value = str | bool | int | float

_WORDS: dict[str, dict[str, int]] = {
    "synchronous": {"off": 0, "normal": 1, "full": 2, "extra": 3},
    "temp_store": {"default": 0, "file": 1, "memory": 2},
    "auto_vacuum": {"none": 0, "full": 1, "incremental": 2},
    "secure_delete": {"off": 0, "false": 0, "on": 1, "true": 1, "fast": 2},
}
_LIMITED = frozenset(["mmap_size", "threads"])
"""SQLite takes the most that it was built for, if more is asked for."""
_ANY_NEGATIVE = {"journal_size_limit": -1.0, "wal_autocheckpoint": 0.0}
"""What SQLite makes of every number below zero: no limit, and never."""
_SWITCH = {"on": 1, "yes": 1, "true": 1, "off": 0, "no": 0, "false": 0}
_PAUSE = 0.01
"""Seconds between two tries to switch the journal mode."""


def set_pragma(connection: sqlite3.Connection, name: str, value: Value) -> None:
    """Set a pragma. Raises :class:`DatabaseOpenError` if it did not take, or if there is none."""
    if name in IN_THE_FILE and is_set(connection, name, value):
        return  # nobody has to write for it
    execute(connection, f"PRAGMA {name} = {_literal(value)}").fetchall()
    row = execute(connection, f"PRAGMA {name}").fetchone()
    if row is None:
        _check_known(connection, name)
    elif not _took(name, row[0], value):
        raise DatabaseOpenError(
            f"PRAGMA {name} = {value} did not take, SQLite answers {row[0]!r}; {_why(name)}"
        )


def is_set(connection: sqlite3.Connection, name: str, value: Value) -> bool:
    """Tell whether a pragma has this value now; True for one that gives no answer."""
    row = execute(connection, f"PRAGMA {name}").fetchone()
    return row is None or _took(name, row[0], value)


def _why(name: str) -> str:
    version = f"this SQLite ({sqlite3.sqlite_version})"
    if name in _LIMITED:
        return f"that is the most that {version} allows: write that, or less"
    return (
        "some pragmas work only before a database has its first table, some not at all in"
        f" {version}"
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


def _took(name: str, found: Value, value: Value) -> bool:
    """Tell whether SQLite's answer stands for what was asked for."""
    answer, asked = _normal(name, found), _normal(name, value)
    if name == "cache_spill" and isinstance(answer, float) and isinstance(asked, float):
        return bool(answer) is bool(asked) and answer >= asked  # it answers with a number of pages
    if name == "encoding":
        return str(answer).startswith(str(asked))  # UTF-16 is answered as UTF-16le
    if name in _ANY_NEGATIVE and isinstance(asked, float) and asked < 0:
        asked = _ANY_NEGATIVE[name]
    return answer == asked


def _normal(name: str, value: Value) -> object:
    """Return the value as SQLite answers it: words are numbers, switches are 0 and 1."""
    if not isinstance(value, str):
        return float(value)
    word = value.lower()
    if name == "encoding":
        return word.replace("-", "")
    word = str(_WORDS.get(name, _SWITCH).get(word, word))
    with suppress(ValueError):
        return float(int(word, 16) if word.startswith("0x") else float(word))
    return word
