"""One database from open to close."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakSet, finalize

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..engine.engine import Engine, Folders
from ..errors import DatabaseClosed
from ..pool.closing import GracefulShutdown, limits, wait_for
from ..pool.holders import Holder
from ..pool.pool import Pool
from ..sqlite.raw import execute
from ..writing.write_lock import WriteLock, write_lock_of
from . import for_tests
from .live import LiveDatabases
from .loan import Loan
from .open_limit import OpenLimit

if TYPE_CHECKING:
    from ..config import DatabaseConfig

live: LiveDatabases[Database] = LiveDatabases()
"""Every database of the process that is open."""
known: WeakSet[Database] = WeakSet()
"""Every database of the process, open or not."""


class _Listed(type):
    """Has ``dir()`` of a class name what its users need, and not what the other wings do."""

    def __dir__(cls) -> list[str]:
        return [name for name in super().__dir__() if name.startswith("__") or name in _OF_USERS]


class Database(metaclass=_Listed):
    """An SQLite database and the connections to it.

    A ``Database`` stays the same object for the life of its provider: who holds it can use it
    again after the container was shut down and initialised anew. Everything here may be
    called from any thread.
    """

    def __init__(
        self, name: str = "database", open_lazily: Callable[[], object] | None = None
    ) -> None:
        self.name = name
        self._open_lazily = open_lazily
        self._shut = False
        self._held_for_fork = False
        self._opener = 0  # the thread that opens it
        self._lock = threading.Lock()  # guards opening and closing, and with them the next three
        self._pool: Pool | None = None
        self._aside: list[Pool] = []  # what tests have put something else in the place of
        self._config: DatabaseConfig | None = None
        self._folders: Folders | None = None
        self._file: Path | None = None
        self._finalizer: finalize[[Pool, list[object]], Database] | None = None
        self.limit: OpenLimit | None = None  # shared with others, of whom not all may be open
        known.add(self)  # last: a fork in another thread may use it from now on

    def __repr__(self) -> str:
        return f"<Database {self.name!r}, {self.state}>"

    @property
    def state(self) -> str:
        """Whether it is open, and how many connections are out, in words."""
        pool = self._pool
        if pool is None:
            return "closed"
        return f"{len(pool.out())} of {pool.engine.config.pool.max_size} connections out"

    @property
    def closed(self) -> bool:
        """Whether it is not open: closed, or not opened yet."""
        return self._pool is None

    @property
    def file(self) -> Path | None:
        """The file, with its whole path; None in memory. Opens a database that was not open yet."""
        if not self._shut:
            self._opened()
        return self._file

    if not TYPE_CHECKING:  # where they are mistakes that a type checker should see

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(_missing(self, name), name=name, obj=self)

        def __enter__(self) -> NoReturn:
            raise TypeError(
                "a database lends connections: write 'with database.connection() as db:',"
                " 'database.reader()' if it only reads, or 'database.transaction()', which also"
                " commits at the end"
            )

        def __exit__(self, *_: object) -> None:
            """Never called: ``__enter__`` has raised."""

    def __dir__(self) -> list[str]:
        return [*dir(type(self)), "name"]

    def open(self, settings: object, folders: Folders | None = None) -> None:
        """Open it, if it is not open already.

        ``settings`` is a path, a mapping or a :class:`DatabaseConfig`; relative paths start in
        ``folders``, or in the current folder. Raises :class:`ConfigurationError` and
        :class:`DatabaseOpenError`; then nothing is left open.
        """
        if self._pool is not None:
            return
        if self._opener == threading.get_ident():
            raise DatabaseClosed(
                f"database {self.name!r} is being opened, and cannot be used meanwhile; a function"
                " for on_connect uses the connection that it is given"
            )
        from ..config import parse

        config = parse(settings, self.name)
        if self.limit is None:
            self._open_once(config, folders or Folders.current())
            return
        with self.limit.room_for(self, config.pool.timeout):
            self._open_once(config, folders or Folders.current())

    def _open_once(self, config: DatabaseConfig, folders: Folders) -> None:
        with self._lock:
            if self._pool is not None:
                return
            try:
                self._opener = threading.get_ident()
                self._open(config, folders)
            finally:
                self._opener = 0

    def _open(self, config: DatabaseConfig, folders: Folders) -> None:
        """Open it. The caller holds the lock."""
        engine = Engine(self.name, config, folders)
        for_tests.substitute(self, engine)
        for_tests.refuse(self, engine)
        engine.create()
        pool = Pool(engine, _write_lock_of(engine))
        pool.open()
        self._file = None if engine.file is None else engine.file.absolute()
        self._config, self._folders, self._pool = config, folders, pool
        names = engine.file_names()
        self._finalizer = finalize(self, _abandon, pool, names)
        self._finalizer.atexit = False
        self._shut = False
        live.add(self, names)

    def close(self, timeout: float | None = None) -> None:
        """Close every connection; wait for those in use, then interrupt what they run.

        Blocks for at most about ``timeout`` seconds (``shutdown_timeout`` of the settings if
        None). What has not come back by then is reported, and closed when it does. Safe to
        call twice; does nothing if it is not open.
        """
        closing = self.start_closing(timeout)
        if closing is not None:
            wait_for([closing])
            self.finish_closing(closing)

    def start_closing(self, timeout: float | None) -> GracefulShutdown | None:
        """The first step of :meth:`close`; None if it is not open."""
        pool, config = self._pool, self._config
        if pool is None or config is None:
            return None
        if timeout is None:
            timeout = config.shutdown_timeout
        return GracefulShutdown(pool, limits.shutdown_timeout if timeout is None else timeout)

    def finish_closing(self, closing: GracefulShutdown) -> None:
        """The last step of :meth:`close`. Another thread may have closed it, and opened it anew."""
        with self._lock:
            if self._pool is not closing.pool:
                return
            self._leave()
            self._shut = True

    def idle_since(self) -> float | None:
        """Return the moment of ``monotonic()`` when it was used last; None if it is, or closed."""
        pool = self._pool
        return None if pool is None else pool.idle_since()

    def close_if_idle(self) -> bool:
        """Close it if nobody has a connection, and tell whether that was so.

        It opens anew when it is used next.
        """
        with self._lock:
            pool = self._pool
            if pool is None or not pool.retire():
                return False
            self._finish_retirement(pool)
        return True

    def _finish_retirement(self, pool: Pool) -> None:
        """Close what an idle pool has open. The caller holds the lock.

        Where an exception has kept it from its end, the next one who comes goes on with it.
        """
        if self._pool is pool:
            pool.refuse_new_loans()
            pool.look_after()
            self._reopen_when_used()
            self._leave()

    def _leave(self) -> None:
        """Be one of those that are not open. The caller holds the lock."""
        self._pool = None
        live.discard(self)
        if self._finalizer is not None:
            self._finalizer.detach()

    def connection(self) -> Loan:
        """``with database.connection() as db:`` lends a connection for a block.

        Blocks for at most ``pool.timeout`` seconds. Raises :class:`PoolTimeout`,
        :class:`TooManyRequests` and :class:`DatabaseClosed`.
        """
        return Loan(self)

    def reader(self) -> Loan:
        """Like :meth:`connection`, for a connection that only reads."""
        return Loan(self, read_only=True)

    def transaction(self) -> Loan:
        """Like :meth:`connection`, in a transaction: BEGIN IMMEDIATE, then COMMIT or ROLLBACK.

        Inside another transaction of the same thread or app context it joins that one: the same
        connection, and a savepoint. Waits for the write lock as well; raises
        :class:`DatabaseBusy`.
        """
        return Loan(self, transaction=True)

    def open_transaction(self) -> Connection | None:
        """Return the connection on which the code that runs now has a block open, if it has."""
        pool = self._pool
        holder = None if pool is None else pool.write_lock.holder
        if not isinstance(holder, Connection) or holder.lender is not pool:
            return None
        borrower = holder.borrower
        is_here = borrower is not None and borrower.may_use_it_here() and not borrower.gone()
        return holder if is_here and holder.blocks.is_open else None

    def lend(self, borrower: Borrower, *, read_only: bool) -> Connection:
        """A connection for ``borrower``, to be given back by :meth:`give_back`."""
        pool = self._pool
        if pool is None:
            pool = self._opened()
        if for_tests.refusals:
            for_tests.refuse(self, pool.engine)
        try:
            return pool.lend(borrower, read_only=read_only)
        except DatabaseClosed:
            if not pool.retired:
                raise
        with self._lock:
            self._finish_retirement(pool)
        return self.lend(borrower, read_only=read_only)

    def stats(self) -> dict[str, int | float]:
        """The pool's figures, in the terms of psycopg_pool; times are milliseconds."""
        return self._opened().stats()

    def holders(self) -> list[Holder]:
        """Who holds a connection now, the longest first."""
        return self._opened().holders()

    def check(self) -> None:
        """Read from the database; raise what is wrong with it."""
        with self.reader() as db:
            execute(db, "SELECT count(*) FROM sqlite_schema").fetchone()

    @property
    def engine(self) -> Engine | None:
        """How it is open now; None if it is closed."""
        return None if self._pool is None else self._pool.engine

    def set_aside(self) -> Callable[[], None]:
        """Close it for everybody, but keep what is open; call the result to be as before.

        Raises :class:`RuntimeError` where a connection is out, and would stay so.
        """
        with self._lock:
            kept = self._pool, self._config, self._folders, self._finalizer, self._shut
            lazily, file = self._open_lazily, self._file
            pool = self._pool
            if pool is not None and (holders := pool.holders()):
                out = "; ".join(map(str, holders))
                raise RuntimeError(f"database {self.name!r} has connections that are out: {out}")
            self._reopen_when_used()
            live.discard(self)
            aside = [] if pool is None else [pool]
            self._aside += aside

        def put_back() -> None:
            self.close(0)
            with self._lock:
                self._pool, self._config, self._folders, self._finalizer, self._shut = kept
                self._open_lazily, self._file = lazily, file
                for pool in aside:
                    self._aside.remove(pool)
                    live.add(self, pool.engine.file_names())

        return put_back

    def reopen_when_used(self) -> None:
        """After it was closed, be as one that was not opened yet."""
        with self._lock:
            if self._pool is None:
                self._reopen_when_used()

    def hold(self, timeout: float) -> None:
        """Before a fork: wait until nobody opens or closes it, and let nobody begin to."""
        self._held_for_fork = self._lock.acquire(timeout=max(0.0, timeout))

    def park(self) -> bool:
        """Before a fork: close what can be closed. Tell whether there is nothing to wait for."""
        parked = [pool.fork.begin() for pool in self._pools()]  # every one of them, so a list
        return all(parked)

    def runs_elsewhere(self) -> bool:
        """Whether another thread is in the middle of a statement."""
        out = self._pool.out() if self._pool is not None else []
        me = threading.get_ident()
        return any(connection.running and connection.thread != me for connection, _ in out)

    def fork_is_over(self) -> None:
        """After a fork, in the parent."""
        if self._held_for_fork:
            self._held_for_fork = False
            self._lock.release()
        for pool in self._pools():
            pool.fork.is_over()

    def forget(self) -> None:
        """After a fork, in the child: open anew when it is used next."""
        self._lock, self._held_for_fork, self._opener = threading.Lock(), False, 0
        for pool in self._aside:
            pool.fork.is_over()  # nothing of it is open, so it can be used here
        if self._pool is not None and self._config is not None:
            self._pool.fork.forget([borrower for _, borrower in self._pool.out()])
            self._reopen_when_used()
            self._leave()
        if self.limit is not None:
            self.limit.forget()

    def _pools(self) -> list[Pool]:
        return self._aside if self._pool is None else [*self._aside, self._pool]

    def _reopen_when_used(self) -> None:
        if self._open_lazily is None and self._config is not None:
            self._open_lazily = partial(self.open, self._config, self._folders)
        self._pool, self._shut = None, False

    def _opened(self) -> Pool:
        if self._pool is None and self._open_lazily is not None and not self._shut:
            self._open_lazily()
        pool = self._pool
        if pool is None:
            raise DatabaseClosed(f"database {self.name!r} is {self._why_closed()}")
        return pool

    def _why_closed(self) -> str:
        if self._config is None:
            return "not open yet: database.open(…) opens it"
        if self._open_lazily is None:
            return "closed; database.open(…) opens it again"
        return f"closed; its container opens it again: container.{self.name}.database()"


_OF_USERS = frozenset(
    """
    check close closed connection file holders open reader stats transaction
    """.split()
)


def _missing(database: Database, name: str) -> str:
    if not name.startswith("_") and hasattr(sqlite3.Connection, name):
        return (
            f"a database has no {name!r}, its connections have: write"
            f" 'with database.connection() as db:', and use db.{name} in it"
        )
    return f"{type(database).__name__!r} object has no attribute {name!r}"


def close_together(databases: Iterable[Database], timeout: float | None = None) -> None:
    """Close several databases at the same time: it takes as long as the slowest of them.

    Raises an :class:`ExceptionGroup` of what failed, when the others are closed.
    """
    closings: dict[Database, GracefulShutdown] = {}
    failures: list[Exception] = []
    for database in databases:
        try:
            closing = database.start_closing(timeout)
        except Exception as error:
            failures.append(error)
        else:
            if closing is not None:
                closings[database] = closing
    wait_for(closings.values())
    for database, closing in closings.items():
        database.finish_closing(closing)
    if failures:
        raise ExceptionGroup("databases that could not be closed", failures)


def _write_lock_of(engine: Engine) -> WriteLock:
    """Return the write lock of a file; each database in memory has one of its own."""
    identity = engine.identity()
    return WriteLock() if identity is None else write_lock_of(identity)


def _abandon(pool: Pool, names: list[object]) -> None:
    """Close the pool of a database that nobody refers to any more: nothing of it is out."""
    live.tidy(names)
    pool.refuse_new_loans()
