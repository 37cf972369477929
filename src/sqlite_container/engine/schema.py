"""Apply a schema file to an empty database: all of it, by one process, or nothing."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigurationError, Mistake, SchemaError
from ..sqlite.file_state import state_of
from ..sqlite.pragmas import is_set
from ..sqlite.raw import execute
from ..sqlite.statements import first_word, pragma_set, setting_changed, split
from . import configure
from .on_connect import introduce_plain

if TYPE_CHECKING:
    from ..config import DatabaseConfig


class Schema(NamedTuple):
    """The text of a schema file, read once."""

    file: Path
    script: str


def find(place: str, path: str | None, folders: Sequence[Path]) -> Schema | None:
    """Read the schema file, looked for in ``folders`` in turn.

    Raises :class:`ConfigurationError` if there is none, or if it is no text.
    """
    if path is None:
        return None
    candidates = list(dict.fromkeys(folder / path for folder in folders))
    for file in candidates:
        if file.is_file():
            return Schema(file, _read(place, file))
    looked = " or ".join(repr(str(file)) for file in candidates)
    raise ConfigurationError([Mistake(f"{place}.schema", f"there is no file {looked}")])


def _read(place: str, file: Path) -> str:
    try:
        return _text(file, state_of(file))
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{str(file)!r} cannot be read: {error}"
        raise ConfigurationError([Mistake(f"{place}.schema", problem)]) from error


@lru_cache(64)
def _text(file: Path, state: object) -> str:  # noqa: ARG001
    """Read it, or have it from the last time if the state of the file is the same: for tests."""
    return file.read_text("utf-8-sig")


def preamble(schema: Schema | None) -> list[str]:
    """Return the statements at the beginning that have no effect inside a transaction.

    That is, how a new file is laid out, and the ``foreign_keys=OFF`` of a dump. They come before
    the file is made: https://www.sqlite.org/pragma.html#pragma_page_size
    """
    statements = [] if schema is None else (text for _, text in split(schema.script))
    return list(itertools.takewhile(_comes_first, statements))


_FIRST = ("page_size", "auto_vacuum", "encoding", "foreign_keys")


def _comes_first(statement: str) -> bool:
    return setting_changed(statement).removeprefix("PRAGMA ") in _FIRST


def _is_preamble(numbered: tuple[int, str]) -> bool:
    return _comes_first(numbered[1])


def rehearse(schema: Schema | None, config: DatabaseConfig) -> None:
    """Try the settings and the schema on a private database, before an empty file is changed.

    So a mistake in them never touches the disk. SQLite deletes the private database itself.
    """
    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as stage:
        configure.extend(stage, config)
        for statement in preamble(schema):
            execute(stage, statement)
        if schema is not None:
            introduce_plain(stage, config.on_connect)
            stage.execute("BEGIN")
            _run(stage, schema)
            _commit(stage, schema)


def apply(connection: sqlite3.Connection, schema: Schema | None, config: DatabaseConfig) -> None:
    """Apply it if the database is empty, in one transaction; another process may be faster."""
    if schema is None or execute(connection, "SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return  # without waiting for those who write
    introduce_plain(connection, config.on_connect)
    execute(connection, "BEGIN IMMEDIATE")
    try:
        if not execute(connection, "SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            _run(connection, schema)
        _commit(connection, schema)
    finally:
        if connection.in_transaction:
            execute(connection, "ROLLBACK")


def _run(connection: sqlite3.Connection, schema: Schema) -> None:
    ignored: SchemaError | None = None
    for line, statement in itertools.dropwhile(_is_preamble, split(schema.script)):
        word = first_word(statement)[0]
        if word in ("BEGIN", "COMMIT", "END"):
            continue  # a dump has them; the whole file is one transaction in any case
        if word == "ATTACH":
            raise _error(schema, line, "ATTACH: a schema is for one database; leave it out")
        if ignored is not None and word in _LOOKS_AT_KEYS:
            raise ignored
        try:
            execute(connection, statement)
        except sqlite3.Error as error:
            raise _error(schema, line, f"{error}{_CURES.get(word, '')}") from error
        if not connection.in_transaction:
            problem = "this statement ended the transaction that the whole schema is applied in"
            raise _error(schema, line, problem)
        pragma, value = pragma_set(statement)
        if pragma in _FIRST:
            ignored = _ignored(connection, schema, line, pragma, value)


def _ignored(
    connection: sqlite3.Connection, schema: Schema, line: int, pragma: str, value: str
) -> SchemaError | None:
    """Return the error for a pragma that SQLite has ignored, for who relies on it.

    Raises it where nothing could make up for it. The last line of a dump may well switch
    foreign keys on: nothing comes after it.
    """
    if is_set(connection, pragma, value):
        return None
    problem = (
        f"PRAGMA {pragma} = {value} has no effect here: all of a schema is one transaction, and"
        " SQLite ignores it there; write it before everything else in the file"
    )
    if pragma != "foreign_keys":
        raise _error(schema, line, problem)
    return _error(schema, line, problem)


_LOOKS_AT_KEYS = ("INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "DROP", "ALTER")
"""Statements that foreign keys concern: a dropped table takes the rows that refer to it along."""
_CURES = {"PRAGMA": "; set it in the settings of the database instead"}


def _error(schema: Schema, line: int, problem: str) -> SchemaError:
    return SchemaError(f"schema {str(schema.file)!r}, line {line}: {problem}")


def _commit(connection: sqlite3.Connection, schema: Schema) -> None:
    """Commit; only then does SQLite look at foreign keys that are deferred."""
    try:
        execute(connection, "COMMIT")
    except sqlite3.IntegrityError as error:
        problem = f"{error} at the end of it{_dangling(connection)}"
        raise SchemaError(f"schema {str(schema.file)!r}: {problem}") from error


def _dangling(connection: sqlite3.Connection) -> str:
    """Which reference leads nowhere, if SQLite can tell."""
    with contextlib.suppress(sqlite3.Error):
        for table, row, parent, _ in execute(connection, "PRAGMA foreign_key_check"):
            which = "a row" if row is None else f"row {row}"
            return f": {which} of {table!r} refers to a row that {parent!r} does not have; add it"
    return ""
