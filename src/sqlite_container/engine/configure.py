"""What is set on each connection when it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import DatabaseOpenError
from ..sqlite.pragmas import Value, set_journal_mode, set_pragma
from ..sqlite.raw import execute

if TYPE_CHECKING:
    from ..config import DatabaseConfig


def configure(
    connection: sqlite3.Connection,
    config: DatabaseConfig,
    preamble: Sequence[str] = (),
    *,
    keep_wal: bool = False,
) -> None:
    """Bring a new connection to its configured state.

    The statements of ``preamble`` come before the journal mode, which makes a new file. With
    ``keep_wal`` a file stays in WAL mode that another process has switched to it.

    Raises :class:`DatabaseOpenError` for a pragma that did not take, and sqlite3's errors.
    """
    extend(connection, config)
    for statement in preamble:
        execute(connection, statement)
    if not config.in_memory and not config.read_only:
        set_journal_mode(connection, config.journal_mode, config.busy_timeout, keep_wal=keep_wal)


def extend(connection: sqlite3.Connection, config: DatabaseConfig) -> None:
    """Add what schema and statements may need: extensions, functions, collations, pragmas."""
    plug_in(connection, config)
    for pragma, value in _pragmas(config):
        set_pragma(connection, pragma, value)


def plug_in(connection: sqlite3.Connection, config: DatabaseConfig) -> None:
    """Add the part of it that changes nothing: extensions, functions and collations."""
    for path in config.extensions:
        _load(connection, path)
    for name, function in config.functions.items():
        with _named(f"functions.{name}"):
            sqlite3.Connection.create_function(
                connection, name, function.narg, function.call, deterministic=function.deterministic
            )
    for name, collation in config.collations.items():
        with _named(f"collations.{name}"):
            sqlite3.Connection.create_collation(connection, name, collation)


@contextmanager
def _named(setting: str) -> Iterator[None]:
    """Within it, what sqlite3 says of a name is told with the setting."""
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise DatabaseOpenError(f"{setting}: {error}") from error


def _load(connection: sqlite3.Connection, path: str) -> None:
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        raise DatabaseOpenError("extensions: this Python was built without loadable extensions")
    sqlite3.Connection.enable_load_extension(connection, True)
    try:
        sqlite3.Connection.load_extension(connection, path)
    except sqlite3.Error as error:
        raise DatabaseOpenError(f"extensions: {path!r} cannot be loaded: {error}") from error
    finally:
        sqlite3.Connection.enable_load_extension(connection, False)


def _pragmas(config: DatabaseConfig) -> list[tuple[str, Value]]:
    """Return what to set, in an order that works: page_size and its like come first."""
    own: dict[str, Value | None] = {
        "foreign_keys": config.foreign_keys,
        "synchronous": config.synchronous,
        "cache_size": config.cache_size,
    }
    if not config.in_memory:
        own |= {"journal_size_limit": config.journal_size_limit, "mmap_size": config.mmap_size}
    chosen = {"trusted_schema": False, **config.pragmas, **own}
    return [(name, value) for name, value in chosen.items() if value is not None]
