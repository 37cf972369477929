"""What a temporary database begins with: the schema of the real one, or a copy of it.

It is made once; then it is only written.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ..engine.engine import Engine, Folders
from ..engine.on_connect import introduce_plain
from ..sqlite.file_state import state_of
from ..sqlite.raw import execute

_contents: dict[tuple[Path | None, object], tuple[object, bytes]] = {}
"""What was made: from which file, with which settings; in which state that was, and the bytes."""
_SMALL = 8 * 2**20
"""Bytes that may be kept to be written again."""
_MARKS = ("user_version", "application_id")
"""By which a program knows whose schema it is, and which."""


def write(draft: str, engine: Engine, *, keep_data: bool) -> None:
    """Write the schema of the engine's database to a new file, or with ``keep_data`` all of it."""
    source = engine.file if keep_data or engine.schema is None else None
    key = source, "data" if keep_data else _settings(engine)
    state = source and _state(source)
    known = _contents.get(key)
    if known is not None and known[0] == state:
        with open(draft, "xb") as file:
            file.write(known[1])
        return
    if keep_data:
        engine.copy_to(draft)
    else:
        _make(draft, engine)
    if os.path.getsize(draft) <= _SMALL:
        _contents[key] = state, Path(draft).read_bytes()


def forget(is_gone: Callable[[Path | None], bool]) -> None:
    """Nobody will ask for copies of these files any more."""
    for key in [key for key in _contents if is_gone(key[0])]:
        del _contents[key]


def _settings(engine: Engine) -> object:
    """What is kept in the file, or decides what the schema means."""
    config, schema = engine.config, engine.schema
    functions = {name: (each.call, each.narg) for name, each in config.functions.items()}
    return (
        config.journal_mode,
        repr(config.pragmas),
        repr(functions),
        repr(config.collations),
        repr(config.on_connect),
        config.extensions,
        schema and schema.script,
    )


def _state(file: Path) -> object:
    """That of the whole database. When root opens a -wal, SQLite sets its owner anew."""
    return state_of(file), state_of(f"{file}-wal", metadata=False)


def _make(draft: str, engine: Engine) -> None:
    config = replace(engine.config, path=draft, mode="rwc", schema=None)
    template = Engine(engine.name, config, Folders.current())
    template.schema = engine.schema
    template.create()
    if engine.schema is None and engine.file is not None and os.path.exists(engine.file):
        with closing(template.open_plain()) as connection:
            introduce_plain(connection, config.on_connect)
            _copy_schema(engine, connection)


def _copy_schema(engine: Engine, target: sqlite3.Connection) -> None:
    with engine.reading() as source:
        plain = _statements(source, f"type = 'table' AND rootpage AND name NOT IN ({_SHADOWS})")
        virtual = _statements(source, "type = 'table' AND NOT rootpage")
        similar = _statements(source, f"type = 'table' AND rootpage AND name IN ({_SHADOWS})")
        others = _statements(source, "type <> 'table'")
        marks = [f"PRAGMA {name} = {_value(source, name)}" for name in _MARKS]
    execute(target, "BEGIN")
    _create(target, plain.values())
    for sql in virtual.values():
        # One that indexes the rows of a table may need that to be there.
        if not any(_can_create(target, *before, sql) for before in ((), *zip(similar.values()))):
            execute(target, sql)
    # SQLite tells shadow tables by their names: what no virtual table has made is an ordinary one.
    there = _statements(target, "type = 'table'")
    _create(target, [sql for name, sql in similar.items() if name not in there])
    _create(target, [*others.values(), *marks, "COMMIT"])


_SHADOWS = "SELECT name FROM pragma_table_list WHERE type = 'shadow'"


def _statements(source: sqlite3.Connection, which: str) -> dict[str, str]:
    """Return the statements that have made what is in a database, by its name."""
    return dict(
        execute(
            source,
            f"SELECT name, sql FROM sqlite_schema WHERE {which} AND sql IS NOT NULL"  # noqa: S608
            " AND substr(name, 1, 7) <> 'sqlite_' ORDER BY rowid",
        ).fetchall()
    )


def _create(target: sqlite3.Connection, statements: Iterable[str]) -> None:
    for sql in statements:
        execute(target, sql)


def _can_create(target: sqlite3.Connection, *statements: str) -> bool:
    """Execute the statements, or none of them where one fails."""
    execute(target, "SAVEPOINT one")
    try:
        _create(target, statements)
    except sqlite3.OperationalError:
        execute(target, "ROLLBACK TO one")
        return False
    finally:
        execute(target, "RELEASE one")
    return True


def _value(source: sqlite3.Connection, pragma: str) -> int:
    return int(execute(source, f"PRAGMA {pragma}").fetchone()[0])
