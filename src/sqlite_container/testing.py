"""Temporary databases for tests: same schema, same settings, and nobody reaches the real files."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dependency_injector import containers

from . import engine as engines
from .begin import raw
from .connection import Connection
from .database import Database, live
from .engine import Engine, Folders
from .lifecycle import databases
from .schema import apply

__all__ = ["isolated", "temporary_databases"]

_PATIENCE = 0.5
"""Seconds to wait, at the end of a block, for connections that are still out."""


@contextlib.contextmanager
def temporary_databases(
    container: containers.Container,
    *,
    only: Collection[str] | None = None,
    keep_data: bool = False,
) -> Iterator[None]:
    """Within it, every database of ``container`` is a fresh temporary one.

    It has the same schema and the same settings, and with ``keep_data`` a copy of the data;
    one that is only read (``mode: ro``) has that always, since nobody could fill it.
    ``only`` names the databases that are meant, such as ``notes``, ``tenants`` or
    ``tenants.acme``. Whoever opens one of their files in this process gets the temporary one,
    another container too. A database that is not used is not made.

    Afterwards everything is as before, closed and deleted. Raises :class:`RuntimeError` if a
    connection to one of the databases is out at the start. Not for use in two threads at the
    same time: the files are replaced for the whole process.
    """
    sandbox = _Sandbox(container, only, keep_data=keep_data)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, sandbox.folder, ignore_errors=True)
        for database in sandbox.databases():
            stack.callback(database.set_aside())
        engines.substitutes.append(sandbox.file_for)
        stack.callback(_close_all, sandbox)
        stack.callback(engines.substitutes.remove, sandbox.file_for)
        yield


@contextlib.contextmanager
def isolated(container: containers.Container) -> Iterator[None]:
    """Within it, every database of ``container`` is a copy: what is written is gone afterwards.

    For suites that fill a database once. The original is not changed by anything that happens
    within, in whichever thread or request. Raises what :func:`temporary_databases` raises.
    """
    with temporary_databases(container, keep_data=True):
        yield


class _Sandbox:
    """The temporary files of one block, by the files whose place they take."""

    def __init__(self, container: Any, only: Collection[str] | None, *, keep_data: bool) -> None:
        self._container = container
        self._only = only
        self._keep_data = keep_data
        self._numbers = itertools.count(1)
        self._files: dict[str, Path] = {}
        self._lock = threading.Lock()  # guards the making of files
        self._originals: set[str] = set()
        self._look_again()
        self.folder = Path(tempfile.mkdtemp(prefix="sqlite_container-", dir=_memory()))

    def databases(self) -> list[Database]:
        """What is to be set aside: the container's, and any that is open on their files."""
        own = [provider.current for provider in self._providers()]
        others = [each for each in list(live) if _file_of(each) in self._originals]
        return list(dict.fromkeys([*own, *others]))

    def file_for(self, engine: Engine) -> Path | None:
        """The file that ``engine`` is to open."""
        if engine.file is None or engine.asked is None:
            return engine.file
        if engine.config.mode != "rwc" and not engine.file.exists():
            return engine.file  # as without the block, that is an error
        original = os.path.realpath(engine.asked)
        if original not in self._originals:
            self._look_again()
        if original not in self._originals:
            return engine.file
        with self._lock:
            if original not in self._files:
                self._files[original] = self._make(engine)
            return self._files[original]

    def opened(self) -> list[Database]:
        """What is open on temporary files now."""
        return [each for each in list(live) if each.engine and self._is_ours(each.engine.file)]

    def _make(self, engine: Engine) -> Path:
        keep_data = self._keep_data or engine.config.read_only
        template = _template(engine, keep_data=keep_data)
        file = self.folder / f"{next(self._numbers)}-{template.name}"
        shutil.copyfile(template, file)
        return file

    def _is_ours(self, file: Path | None) -> bool:
        return file is not None and file.parent == self.folder

    def _providers(self) -> list[Any]:
        return [each for each in databases(self._container) if self._means(each.name)]

    def _means(self, name: str) -> bool:
        return self._only is None or any(f"{name}.".startswith(f"{each}.") for each in self._only)

    def _look_again(self) -> None:
        """The configuration may have other databases than before."""
        for provider in self._providers():
            config, folders = provider.config(), provider.folders or Folders.current()
            if not config.in_memory:
                self._originals.add(os.path.realpath(folders.data / config.path))


def _close_all(sandbox: _Sandbox) -> None:
    for database in sandbox.opened():
        database.close(_PATIENCE)


def _file_of(database: Database) -> str | None:
    engine = database.engine
    return None if engine is None or engine.asked is None else os.path.realpath(engine.asked)


def _memory() -> str | None:
    """A folder in memory, where a sync costs nothing; None for the usual temporary folder."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


# -- templates: made once, then copied ----------------------------------------------------

_templates: dict[object, Path] = {}
_home: Path | None = None


def _template(engine: Engine, *, keep_data: bool) -> Path:
    """A file with the schema (and the data) of the engine's database, ready to be copied."""
    key = _key(engine, keep_data=keep_data)
    if key not in _templates:
        file = _new_template()
        _fill(file, engine, keep_data=keep_data)
        _templates[key] = file
    return _templates[key]


def _new_template() -> Path:
    global _home
    if _home is None:
        _home = Path(tempfile.mkdtemp(prefix="sqlite_container-", dir=_memory()))
        atexit.register(shutil.rmtree, _home, ignore_errors=True)
    return _home / f"{len(_templates)}.db"


def _key(engine: Engine, *, keep_data: bool) -> object:
    config, script = engine.config, engine.schema and engine.schema.script
    settings = (
        config.journal_mode,
        repr(config.pragmas),
        repr(config.functions),
        config.extensions,
    )
    if script is not None and not keep_data:
        return settings, script
    return settings, script, keep_data, _state_of(engine.file)


def _state_of(file: Path | None) -> object:
    """What changes when somebody writes to the file."""
    states: list[object] = [str(file)]
    for name in (f"{file}", f"{file}-wal"):
        with contextlib.suppress(OSError):
            status = Path(name).stat()
            states.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(states)


def _fill(file: Path, engine: Engine, *, keep_data: bool) -> None:
    exists = engine.file is not None and engine.file.exists()
    if keep_data and exists:
        _copy_data(engine, file)
    config = replace(engine.config, path=str(file), mode="rwc", schema=None)
    template = Engine(engine.name, config, Folders.current())
    connection = template.prepare()
    try:
        if engine.schema is not None:
            apply(connection, engine.schema)
        elif exists and not keep_data:
            _copy_schema(engine, connection)
    finally:
        template.close(connection)


def _copy_data(engine: Engine, file: Path) -> None:
    with _reading(engine) as source, contextlib.closing(sqlite3.connect(file)) as target:
        sqlite3.Connection.backup(source, target)


def _copy_schema(engine: Engine, target: sqlite3.Connection) -> None:
    """For a database without a schema file: what is in the real one, without its rows."""
    with _reading(engine) as source:
        statements = raw(
            source,
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            " AND name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')"
            " ORDER BY type <> 'table', rowid",
        ).fetchall()
    for (sql,) in statements:
        raw(target, sql)


@contextlib.contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    source = engine.connect(read_only=True)
    try:
        yield source
    finally:
        engine.close(source)
        engine.finish()
