"""The one place that opens SQLite: from settings to a connection that is as configured."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterator
from copy import copy
from os import path
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ..connection.connection import Connection
from ..connection.lender import Lender
from ..connection.parking import open_again
from ..errors import DatabaseBusy, DatabaseOpenError, DatabaseReplaced
from ..sqlite import file_access
from ..sqlite.after_fork import keep_for_ever
from ..sqlite.closing import one_at_a_time
from ..sqlite.raw import execute, primary_code, run
from ..writing.write_lock import WriteLock
from . import after_fork, configure, schema
from .identity import OpenFile, identity_of, names_of
from .new_file import Draft
from .on_connect import introduce, introduce_plain

if TYPE_CHECKING:
    from ..config import DatabaseConfig

_numbers = itertools.count(1)
_LONG_PATH = 500
"""Bytes: the name of the journal, which is longer, has to fit into 512."""
_NO_ACCESS = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Folders(NamedTuple):
    """Where relative paths start: the database files', and the schema files' in turn."""

    data: Path
    schemas: tuple[Path, ...]

    @classmethod
    def current(cls) -> Folders:
        """The current folder for everything."""
        here = Path.cwd()
        return cls(here, (here,))


class Engine:
    """How the connections of one database are opened and closed.

    ``create()`` comes first and sees to the file; ``connect()`` opens one connection;
    ``finish()`` comes last, when all of them are closed. Whatever fails leaves no connection
    open.
    """

    def __init__(self, name: str, config: DatabaseConfig, folders: Folders) -> None:
        self.name = name
        self.config = config
        self.schema = schema.find(name, config.schema, folders.schemas)
        self.file = self.asked = None if config.in_memory else folders.data / config.path
        self.text_factory: Any = config.text_factory or str
        self._memory = _memory_uri() if config.in_memory else ""
        self._memory_holder: sqlite3.Connection | None = None
        self._open_file: OpenFile | None = None
        self._has_opened = False

    def __repr__(self) -> str:
        return f"<Engine of {self.place}>"

    @property
    def uri(self) -> str:
        """What SQLite opens."""
        if self.file is None:
            return self._memory
        uri = _file_uri(self.file, self.config.mode)
        return f"{uri}&immutable=1" if self.config.immutable else uri

    @property
    def is_substituted(self) -> bool:
        """Whether ``file`` is one that a test has put in the place of the right one."""
        return self.file is not self.asked

    @property
    def place(self) -> str:
        """The database and its file, as an error message names them."""
        return f"database {self.name!r} ({self.config.path if self.file is None else self.file})"

    def create(self) -> None:
        """Check the file, create what is missing, and apply the schema to an empty database.

        Raises :class:`DatabaseOpenError`, before anything is written where that is possible.
        """
        with self.explained():
            self._check_file()
            is_new = self._is_new() and self.config.mode == "rwc"
            if self.file is None:
                schema.rehearse(self.schema, self.config)
                self._memory_holder = self.open_plain()
            elif is_new and not self._create(Path(path.realpath(self.file))):
                schema.rehearse(self.schema, self.config)
                self._apply_schema()
                if self._is_missing():
                    self.open_plain().close()

    def _create(self, file: Path) -> bool:
        """Make the file whole under another name; then let it appear under its own.

        So a failure leaves nothing, and nothing that another process has made meanwhile under
        that name is ever deleted: it is used. Tells whether that could be done: a file that is
        there stays where it is, and the other name may be too long for SQLite or the disk.
        """
        if not self._is_missing():
            return False
        with Draft(file) as draft:
            maker = copy(self)
            maker.file = draft.file
            try:
                connection = maker.open_plain()
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_CANTOPEN:
                    raise
                return False
            with contextlib.closing(connection):
                schema.apply(connection, self.schema, self.config)
            draft.publish()
        if self._is_missing():
            self.open_plain().close()
        return True

    def _apply_schema(self) -> None:
        """Apply the schema to a database without tables, on a connection that is closed after it.

        If it fails, the empty database stays, since nobody can tell whether another process has
        opened it.
        """
        if self.schema is not None and not self.config.read_only:
            with contextlib.closing(self.open_plain()) as connection:
                schema.apply(connection, self.schema, self.config)

    def _is_missing(self) -> bool:
        return self.file is not None and not path.exists(self.file)

    def first_connection(self, lender: Lender) -> Connection:
        """Open the first connection, and read from it: a file may turn out to be no database."""
        if self.file is not None:
            self._open_file = OpenFile(self.file, self.place)
        with self.explained():
            first = self._open(lender, read_only=False)
            try:
                if not execute(first, "SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    self._apply_schema()
            except BaseException:
                sqlite3.Connection.close(first)
                raise
        self._has_opened = True
        return first

    def connect(self, lender: Lender, *, read_only: bool) -> Connection:
        """Open a connection, for reading only or for both."""
        with self.explained():
            return self._open(lender, read_only=read_only)

    def convert(self, connection: Connection, *, read_only: bool) -> None:
        """Make a connection that reads of one that writes, or the other way round."""
        read_only = read_only or self.config.read_only
        execute(connection, f"PRAGMA query_only = {int(read_only)}")
        connection.read_only = read_only

    def close(self, connection: Connection, write_lock: WriteLock) -> None:
        """Close a connection that nobody uses."""
        shared = None if self.is_substituted else self.file
        with write_lock.closing:
            if connection.closed or connection.parked:
                return
            with one_at_a_time(shared):
                with contextlib.suppress(sqlite3.Error):
                    self._prepare_close(connection)
                sqlite3.Connection.close(connection)
                connection.closed = True

    def _prepare_close(self, connection: Connection) -> None:
        """See to it that the close folds in the write-ahead log, or that it does not.

        An earlier ``interrupt()`` leaves a flag that makes the last checkpoint fail, and the
        ``-wal`` file stay; a statement that runs to its end clears it. Where the file was
        replaced, that is what is wanted: SQLite would write into another file, or delete its log.
        """
        if self._open_file is None:
            execute(connection, "SELECT 1").fetchone()
            return
        with contextlib.suppress(DatabaseReplaced):
            self._open_file.check()
        if self._open_file.is_replaced:
            sqlite3.Connection.interrupt(connection)
        else:
            execute(connection, "SELECT 1").fetchone()

    def optimize(self, connection: Connection, write_lock: WriteLock) -> None:
        """Let SQLite bring its statistics up to date, without waiting for anybody."""
        if self.config.read_only or self.is_substituted:
            return
        with write_lock.closing, contextlib.suppress(sqlite3.Error):
            if not connection.closed:
                self.convert(connection, read_only=False)
                for pragma in ("busy_timeout = 0", "analysis_limit = 400", "optimize"):
                    execute(connection, f"PRAGMA {pragma}").fetchall()

    def finish(self) -> None:
        """Tidy up when the last connection is closed. Never raises for what SQLite refuses."""
        if self._memory_holder is not None:
            self._memory_holder.close()
            self._memory_holder = None
        elif self._open_file is not None and self._open_file.is_replaced:
            self._open_file.remove_left_wal()
        elif self.file is not None and self.config.read_only and not self.config.immutable:
            self._remove_wal(self.file)

    def wal_bytes(self) -> int:
        """How large the write-ahead log is; 0 if there is none."""
        with contextlib.suppress(OSError):
            return 0 if self.file is None else path.getsize(f"{self.file}-wal")
        return 0

    def identity(self) -> object:
        """What two names of the same file have in common; None in memory."""
        return None if self.file is None else identity_of(self.file)

    def file_names(self) -> list[object]:
        """Return what tells that another database was asked to open the same file."""
        return [] if self.asked is None else names_of(self.asked)

    # -- copying: for tests ---------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file as it is: no setting is applied that would change it."""
        if self.file is None:
            raise ValueError(f"{self.place} is no file")
        uri = self.uri if self.config.read_only else _file_uri(self.file, "rw")
        source = sqlite3.connect(uri, uri=True, timeout=self.config.busy_timeout)
        try:
            configure.plug_in(source, self.config)
            introduce_plain(source, self.config.on_connect)
            source.execute("PRAGMA query_only = 1")
            yield source
        finally:
            with one_at_a_time(self.file):
                source.close()
            self.finish()

    def copy_to(self, copy: str) -> None:
        """Copy the file to a new one."""
        with self.reading() as source, contextlib.closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA synchronous = OFF")  # if it fails, there is no copy
            target.execute("PRAGMA journal_mode = OFF")
            source.backup(target)

    def copy_memory_to(self, other: Engine | None) -> None:
        """Copy a database in memory to another one."""
        if (
            self._memory_holder is not None
            and other is not None
            and other._memory_holder is not None
        ):
            self._memory_holder.backup(other._memory_holder)

    def forget(self, *, clean: bool) -> None:
        """Leave, in a forked child, what was inherited."""
        if self._memory_holder is not None:
            keep_for_ever(self._memory_holder)
        elif not clean:
            after_fork.distrust_file(self.identity())

    # -- opening ------------------------------------------------------------------------

    def _open(self, lender: Lender, *, read_only: bool) -> Connection:
        # Not by sqlite3.connect(), which instrumentation replaces with a function of its own.
        self.check_file()
        self._check_immutable()
        connection = Connection(lender, **self._arguments)
        try:
            self._set_up(connection)
            self.convert(connection, read_only=read_only)
            self.check_file()
        except BaseException:
            sqlite3.Connection.close(connection)
            raise
        return connection

    def _check_immutable(self) -> None:
        if self.config.immutable and self.file is not None:
            file_access.check_immutable(Path(path.realpath(self.file)))

    def check_file(self) -> None:
        """Raise :class:`DatabaseReplaced` if the path leads to another file than the open one."""
        if self._open_file is not None:
            self._open_file.check()

    def look_anew(self) -> None:
        """Take the file that is at the path now for the right one: no connection is open."""
        if self._open_file is not None and not self._is_new():
            self._open_file = OpenFile(self._open_file.file, self.place)

    def reopen(self, connection: Connection) -> None:
        """Give a connection whose handle was closed another one, as configured."""
        self.check_file()
        with self.explained():
            open_again(connection, **self._arguments)
            connection.parked = False
            self._set_up(connection)
            self.convert(connection, read_only=connection.read_only)

    def _set_up(self, connection: Connection) -> None:
        configure.configure(connection, self.config, keep_wal=self._has_opened)
        self._check_that_it_writes(connection)
        if self._open_file is not None:
            self._open_file.opened()
        connection.restore()
        if self.config.on_connect is not None:
            introduce(connection, self.config.on_connect)
        if connection.timed:
            handler = connection.progress_handler()
            sqlite3.Connection.set_progress_handler(connection, handler, 10_000)

    def _check_that_it_writes(self, connection: sqlite3.Connection) -> None:
        """Raise sqlite3's error if SQLite has opened the file for reading only.

        It does so without a word if it may not write, or if descriptors have run out for a
        moment: https://www.sqlite.org/c3ref/open.html ("SQLITE_OPEN_READWRITE").
        """
        if self.config.read_only or self.file is None:
            return
        try:
            # The pragma asks for SQLite's write lock, where BEGIN IMMEDIATE would begin to read.
            run(connection, "PRAGMA busy_timeout = 0; BEGIN; PRAGMA incremental_vacuum(1)")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY:  # somebody writes, so it can be written
                raise
        if connection.in_transaction:
            execute(connection, "ROLLBACK")
        execute(connection, f"PRAGMA busy_timeout = {round(self.config.busy_timeout * 1000)}")

    def open_plain(self) -> sqlite3.Connection:
        """Open a connection that is configured, but is nobody's."""
        connection = sqlite3.Connection(**self._arguments)
        try:
            configure.configure(connection, self.config, schema.preamble(self.schema))
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def _arguments(self) -> dict[str, Any]:
        return {
            "database": self.uri,
            "uri": True,
            "timeout": self.config.busy_timeout,
            "detect_types": self.config.detect_types,
            "isolation_level": "IMMEDIATE",
            "check_same_thread": False,
        }

    def _is_new(self) -> bool:
        return self.file is None or not path.exists(self.file) or not path.getsize(self.file)

    def _check_file(self) -> None:
        """Raise :class:`DatabaseOpenError` where it cannot be opened, as far as that is known."""
        after_fork.check(self.identity())
        if self.file is None:
            return
        if not self.is_substituted:
            has_journal = self.config.journal_mode not in ("memory", "off")
            file_access.check(self.file, self.config.mode, has_journal=has_journal)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Within it, SQLite's errors name the database, and say more."""
        try:
            yield
        except DatabaseOpenError as error:
            cause = error.__cause__
            problem = file_access.no_descriptors_left() if primary_code(cause) in _NO_ACCESS else ""
            raise type(error)(f"{self.place}: {problem or error}") from cause
        except DatabaseReplaced:
            raise
        except sqlite3.Error as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY:
                problem = f"{self.place}: somebody writes, and it cannot be opened meanwhile"
                raise DatabaseBusy(problem) from error
            raise DatabaseOpenError(f"{self.place}: {self._reason(error) or error}") from error

    def _reason(self, error: sqlite3.Error) -> str:
        """The reason for an error of SQLite's, as far as the files of the database tell it."""
        code = primary_code(error)
        if code == sqlite3.SQLITE_NOTADB:
            return "the file is not an SQLite database"
        if self.file is None or code not in _NO_ACCESS:
            return ""
        if no_descriptors := file_access.no_descriptors_left():
            return no_descriptors
        file = Path(path.realpath(self.file))
        if len(os.fsencode(file)) > _LONG_PATH:
            return f"the path is too long for SQLite, it has {len(os.fsencode(file))} bytes"
        problem = file_access.side_file_barred(file, read_only=self.config.read_only)
        if not problem and error.sqlite_errorcode != sqlite3.SQLITE_READONLY:  # that is a write
            problem = file_access.no_place_for_shm(file)
        return problem

    def _remove_wal(self, file: Path) -> None:
        """Remove the -wal file that reading has made: a read-only connection cannot."""
        if path.exists(f"{file}-wal") and os.access(file, os.W_OK):
            with one_at_a_time(file), contextlib.suppress(sqlite3.Error):
                uri = _file_uri(file, "rw")
                with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0)) as last:
                    last.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _file_uri(file: Path, mode: str) -> str:
    return f"file://{quote(os.fsencode(file))}?mode={mode}"


def _memory_uri() -> str:
    """A database in memory that several connections of this process can share."""
    return f"file:/sqlite_container-{os.getpid()}-{next(_numbers)}?vfs=memdb"
