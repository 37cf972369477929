"""What is set on each connection when it is opened, and read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from time import monotonic, sleep
from typing import TYPE_CHECKING
from weakref import ref

from ..connection.connection import Connection
from ..connection.cursor import TimedCursor
from ..errors import DatabaseOpenError, primary_code
from ..words import did_you_mean
from ..writing.begin import raw

if TYPE_CHECKING:
    from ..config import DatabaseConfig

_Value = str | bool | int | float

_WORDS: dict[str, dict[str, int]] = {
    "synchronous": {"off": 0, "normal": 1, "full": 2, "extra": 3},
    "temp_store": {"default": 0, "file": 1, "memory": 2},
    "auto_vacuum": {"none": 0, "full": 1, "incremental": 2},
    "secure_delete": {"off": 0, "false": 0, "on": 1, "true": 1, "fast": 2},
}
_SWITCH = {"on": 1, "yes": 1, "true": 1, "off": 0, "no": 0, "false": 0}


def connection(opened: Connection, config: DatabaseConfig) -> None:
    """Bring a new connection to its configured state.

    Raises :class:`DatabaseOpenError` for a pragma that did not take, and sqlite3's errors.
    """
    extend(opened, config)
    if not config.in_memory and not config.read_only:
        _set_journal_mode(opened, config)
    opened.restore()
    if config.statement_timeout is not None:
        opened.use_cursor(TimedCursor)
        handler = _deadline(ref(opened), config.statement_timeout)
        sqlite3.Connection.set_progress_handler(opened, handler, 10_000)


def extend(opened: sqlite3.Connection, config: DatabaseConfig) -> None:
    """What schema and statements may need: extensions, functions, and pragmas."""
    plug_in(opened, config)
    for pragma, value in _pragmas(config):
        _set(opened, pragma, value)


def plug_in(opened: sqlite3.Connection, config: DatabaseConfig) -> None:
    """The part of it that changes nothing: extensions and functions."""
    for path in config.extensions:
        _load(opened, path)
    for name, function in config.functions.items():
        sqlite3.Connection.create_function(
            opened, name, function.narg, function.call, deterministic=function.deterministic
        )


def _load(opened: sqlite3.Connection, path: str) -> None:
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        raise DatabaseOpenError("extensions: this Python was built without loadable extensions")
    sqlite3.Connection.enable_load_extension(opened, True)
    try:
        sqlite3.Connection.load_extension(opened, path)
    except sqlite3.Error as error:
        raise DatabaseOpenError(f"extensions: {path!r} cannot be loaded: {error}") from error
    finally:
        sqlite3.Connection.enable_load_extension(opened, False)


def _pragmas(config: DatabaseConfig) -> list[tuple[str, _Value]]:
    """What to set, in an order that works: page_size and its like before anything is written."""
    own: dict[str, _Value | None] = {
        "foreign_keys": config.foreign_keys,
        "synchronous": config.synchronous,
        "cache_size": config.cache_size,
    }
    if not config.in_memory:
        own |= {"journal_size_limit": config.journal_size_limit, "mmap_size": config.mmap_size}
    chosen = {"trusted_schema": False, **config.pragmas, **own}
    return [(name, value) for name, value in chosen.items() if value is not None]


def _set(opened: sqlite3.Connection, name: str, value: _Value) -> None:
    expected = _normal(name, value)
    raw(opened, f"PRAGMA {name} = {_literal(value)}").fetchall()
    row = raw(opened, f"PRAGMA {name}").fetchone()
    if row is None:
        _check_known(opened, name)
    elif not _same(_normal(name, row[0]), expected):
        raise DatabaseOpenError(
            f"PRAGMA {name} = {value} did not take, it is still {row[0]!r}; some pragmas work only"
            " before a database has its first table, some not at all in this SQLite"
            f" ({sqlite3.sqlite_version})"
        )


def _check_known(opened: sqlite3.Connection, name: str) -> None:
    known = [row[0] for row in raw(opened, "PRAGMA pragma_list")]
    if name not in known:
        raise DatabaseOpenError(f"there is no PRAGMA {name}{did_you_mean(name, known)}")


def _literal(value: _Value) -> str:
    if isinstance(value, str):
        return "'{}'".format(value.replace("'", "''"))
    return str(int(value)) if isinstance(value, bool) else str(value)


def _normal(name: str, value: _Value) -> object:
    """The value as SQLite answers it: words are numbers, switches are 0 and 1."""
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


def _set_journal_mode(opened: Connection, config: DatabaseConfig) -> None:
    wanted = config.journal_mode
    mode = raw(opened, "PRAGMA journal_mode").fetchone()[0]
    deadline = monotonic() + config.busy_timeout
    while mode != wanted:
        try:
            mode = raw(opened, f"PRAGMA journal_mode = {wanted}").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # The switch needs the file for itself, and SQLite does not wait for that.
            if primary_code(error) != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                problem = f"journal_mode {wanted!r} cannot be set: {error}"
                raise DatabaseOpenError(problem) from error
            sleep(0.01)
    if mode != wanted:
        raise DatabaseOpenError(
            f"journal_mode {wanted!r} was refused, it is still {mode!r}; the file"
            " system may not support it, or another connection is using the database"
        )


def _deadline(opened: ref[Connection], limit: float) -> Callable[[], bool]:
    def passed() -> bool:
        timed = opened()
        running = None if timed is None else timed.running
        return running is not None and monotonic() - running[1] > limit

    return passed
