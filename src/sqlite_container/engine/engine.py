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
from uuid import uuid4

from ..connection.connection import Connection
from ..connection.home import Home
from ..errors import DatabaseBusy, DatabaseOpenError, primary_code
from ..sqlite import file_access as access
from ..sqlite.close_lock import alone
from ..sqlite.fork_safety import keep_for_ever
from ..writing.begin import raw
from ..writing.write_lock import Turn, turn_for
from . import configure, schema

if TYPE_CHECKING:
    from ..config import DatabaseConfig

_numbers = itertools.count(1)
_NO_ACCESS = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)

_inherited_open: set[object] = set()
"""Files that this process inherited in use, from the parent that forked it."""
_distrusted = ""


def distrust() -> None:
    """In a forked child: use no database, because another thread was inside SQLite meanwhile.

    SQLite's own locks, that of its memory among them, may be held for ever here.
    """
    global _distrusted
    _distrusted = (
        "another thread was in the middle of a statement when this process was forked, and may"
        " have left SQLite locked here for ever. Start the process by 'spawn', or fork before"
    )


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

    ``prepare()`` comes first and checks what concerns the file; ``connect()`` opens one
    connection; ``finish()`` comes last, when all of them are closed. Whatever fails leaves no
    connection open.
    """

    def __init__(self, name: str, config: DatabaseConfig, folders: Folders) -> None:
        self.name = name
        self.config = config
        self.schema = schema.find(name, config.schema, folders.schemas)
        self.file = self.asked = None if config.in_memory else folders.data / config.path
        self._memory = _memory_uri() if config.in_memory else ""
        self._keeper: sqlite3.Connection | None = None
        self.home = Home(
            name,
            Turn(),
            busy_timeout=config.busy_timeout,
            statement_timeout=config.statement_timeout,
            row_factory=config.row_factory,
        )

    @property
    def uri(self) -> str:
        """What SQLite opens."""
        return self._memory if self.file is None else _file_uri(self.file, self.config.mode)

    @property
    def is_substituted(self) -> bool:
        """Whether ``file`` is one that a test has put in the place of the right one."""
        return self.file is not self.asked

    @property
    def place(self) -> str:
        """The database and its file, as an error message names them."""
        return f"database {self.name!r} ({self.config.path if self.file is None else self.file})"

    def prepare(self) -> Connection:
        """Check the file, create what is missing, apply the schema to an empty database.

        Returns the first connection. Raises :class:`DatabaseOpenError`, before anything is
        written where that is possible.
        """
        with self.explained():
            self._check_file()
            if self._is_new() and self.config.mode == "rwc":
                self._begin_new()
            if self.file is None:
                self._keeper = sqlite3.connect(self.uri, uri=True, check_same_thread=False)
            first = self._open(read_only=False)
            try:
                self._make_ready(first)
                if not first.usable:  # the schema has changed settings of its connection
                    first, altered = self._open(read_only=False), first
                    self.close(altered)
            except BaseException:
                sqlite3.Connection.close(first)
                raise
        return first

    def _begin_new(self) -> None:
        """Find what is wrong with the settings and the schema before the database is there."""
        if self.file is None or path.exists(self.file):
            schema.rehearse(self.schema, self.config)
        else:
            self._create(Path(path.realpath(self.file)))

    def _create(self, file: Path) -> None:
        """Make the file whole under another name; then let it appear under its own.

        So a failure leaves nothing, and nothing that another process has made meanwhile under
        that name is ever deleted: it is used.
        """
        draft = file.with_name(f"{file.name[:50]}-new-{uuid4().hex}")
        try:
            self._write(draft)
            # If another process was first, or the file system knows no second name for a file,
            # SQLite opens or makes the file in its place. If the schema fails there, an empty
            # database stays: nobody can tell whether another process has opened it.
            if not _has_journal(draft) and not _has_journal(file):
                with contextlib.suppress(OSError):
                    os.link(draft, file)
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(OSError):
                    os.unlink(f"{draft}{suffix}")

    def _write(self, draft: Path) -> None:
        maker = copy(self)
        maker.file = draft
        connection = maker._open(read_only=False)
        try:
            if self.schema is not None:
                schema.apply(connection, self.schema)
        finally:
            sqlite3.Connection.close(connection)

    def _make_ready(self, first: Connection) -> None:
        raw(first, "SELECT count(*) FROM sqlite_schema").fetchone()  # fails if it is no database
        if self.schema and not self.config.read_only:
            schema.apply(first, self.schema)
        if self.file is not None:
            self.home.turn = turn_for(self.identity())

    def connect(self, *, read_only: bool) -> Connection:
        """Open a connection, for reading only or for both."""
        with self.explained():
            return self._open(read_only=read_only)

    def convert(self, connection: Connection, *, read_only: bool) -> None:
        """Make a connection that reads of one that writes, or the other way round."""
        read_only = read_only or self.config.read_only
        raw(connection, f"PRAGMA query_only = {int(read_only)}")
        connection.read_only = connection.watch.read_only = read_only

    def close(self, connection: Connection) -> None:
        """Close a connection that nobody uses.

        An earlier ``interrupt()`` leaves a flag that makes the last checkpoint fail, and the
        ``-wal`` file stay; a statement that runs to its end clears it.
        """
        shared = None if self.is_substituted else self.file
        with self.home.turn.closing:
            if connection.closed or connection.parked:
                return
            with alone(shared):
                with contextlib.suppress(sqlite3.Error):
                    raw(connection, "SELECT 1").fetchone()
                sqlite3.Connection.close(connection)
                connection.closed = True

    def optimize(self, connection: Connection) -> None:
        """Let SQLite bring its statistics up to date, without waiting for anybody."""
        if self.config.read_only or self.is_substituted:
            return
        with self.home.turn.closing, contextlib.suppress(sqlite3.Error):
            if not connection.closed:
                self.convert(connection, read_only=False)
                for pragma in ("busy_timeout = 0", "analysis_limit = 400", "optimize"):
                    raw(connection, f"PRAGMA {pragma}").fetchall()

    def finish(self) -> None:
        """Tidy up when the last connection is closed. Never raises for what SQLite refuses."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        elif self.file is not None and self.config.read_only:
            self._remove_wal(self.file)

    def wal_bytes(self) -> int:
        """How large the write-ahead log is; 0 if there is none."""
        with contextlib.suppress(OSError):
            return 0 if self.file is None else path.getsize(f"{self.file}-wal")
        return 0

    def identity(self) -> object:
        """What two names of the same file have in common; None in memory."""
        with contextlib.suppress(OSError, ValueError):
            if self.file is not None:
                status = self.file.stat()
                return status.st_dev, status.st_ino
        return None

    def is_on(self, file: Path) -> bool:
        """Whether it was asked to open this file, by whichever name."""
        with contextlib.suppress(OSError, ValueError):
            return self.asked is not None and path.samefile(self.asked, file)
        return self.asked == file

    # -- copying: for tests ---------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file as it is: no setting is applied that would change it."""
        if self.file is None:
            raise ValueError(f"{self.place} is no file")
        uri = _file_uri(self.file, "ro" if self.config.read_only else "rw")
        source = sqlite3.connect(uri, uri=True, timeout=self.config.busy_timeout)
        try:
            configure.plug_in(source, self.config)
            source.execute("PRAGMA query_only = 1")
            yield source
        finally:
            with alone(self.file):
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
        if self._keeper is not None and other is not None and other._keeper is not None:
            self._keeper.backup(other._keeper)

    def forget(self, *, clean: bool) -> None:
        """In a forked child: never touch what was inherited.

        Where a connection was open in the parent, SQLite's own record of the file's locks was
        inherited with it and is wrong here: the file cannot be used safely in this process.
        """
        if self._keeper is not None:
            keep_for_ever(self._keeper)
        elif not clean:
            _inherited_open.add(self.identity())

    # -- opening ------------------------------------------------------------------------

    def _open(self, *, read_only: bool) -> Connection:
        connection = sqlite3.connect(factory=Connection, **self._arguments)
        connection.home = self.home
        try:
            configure.connection(connection, self.config)
            self.convert(connection, read_only=read_only)
        except BaseException:
            sqlite3.Connection.close(connection)
            raise
        return connection

    def reopen(self, connection: Connection) -> None:
        """Give a connection whose handle was closed another one, as configured."""
        with self.explained():
            connection.open_again(**self._arguments)
            connection.parked = False
            configure.connection(connection, self.config)
            self.convert(connection, read_only=connection.read_only)

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
        if _distrusted:
            raise DatabaseOpenError(_distrusted)
        if self.file is None:
            return
        if _inherited_open and self.identity() in _inherited_open:
            raise DatabaseOpenError(
                "a connection to it was in a transaction, or had a cursor open, when this process"
                " was forked; SQLite cannot use the file safely here. End the transaction before"
                " the fork, or start the process by 'spawn'"
            )
        if not self.is_substituted:
            access.check(self.file, self.config.mode)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Within it, SQLite's errors name the database, and say more."""
        try:
            yield
        except DatabaseOpenError as error:
            raise type(error)(f"{self.place}: {error}") from error.__cause__
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
        file = Path(path.realpath(self.file))
        problem = access.side_file_barred(file, read_only=self.config.read_only)
        if not problem and error.sqlite_errorcode != sqlite3.SQLITE_READONLY:  # that is a write
            problem = access.no_place_for_shm(file)
        return problem

    def _remove_wal(self, file: Path) -> None:
        """Remove the -wal file that reading has made: a read-only connection cannot."""
        if path.exists(f"{file}-wal") and os.access(file, os.W_OK):
            with alone(file), contextlib.suppress(sqlite3.Error):
                uri = _file_uri(file, "rw")
                with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0)) as last:
                    last.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _file_uri(file: Path, mode: str) -> str:
    return f"file:{quote(os.fsencode(file))}?mode={mode}"


def _has_journal(file: Path) -> bool:
    """Whether SQLite would write into the file what is left of another one of that name."""
    return path.exists(f"{file}-wal") or path.exists(f"{file}-journal")


def _memory_uri() -> str:
    """A database in memory that several connections of this process can share."""
    return f"file:/sqlite_container-{os.getpid()}-{next(_numbers)}?vfs=memdb"
