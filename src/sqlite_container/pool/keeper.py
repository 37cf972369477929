"""The connections of one open database: opened, looked after while they are out, closed."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

from ..connection.borrower import Borrower, Holder, holder
from ..connection.connection import Connection
from ..engine.engine import Engine
from . import reports as report
from .ledger import Ledger

LOOK = 1.0
"""Seconds after which somebody who waits looks for connections that nobody will give back."""


class Waiter:
    """A thread in the queue. What it is granted, it is granted under the pool's lock."""

    __slots__ = ("bell", "borrower", "connection", "granted")

    def __init__(self, borrower: Borrower) -> None:
        self.borrower = borrower
        self.connection: Connection | None = None
        self.granted = False
        self.bell = threading.Lock()
        self.bell.acquire()

    def grant(self, connection: Connection | None) -> None:
        """Tell that it has a connection, or with None the right to open one."""
        self.connection = connection
        self.granted = True
        self.bell.release()


class _Block:
    """For as long as a call lasts: see :class:`Borrower`."""


class Keeper:
    """Keeps the ledger of a database's connections, and looks after them.

    ``_lock`` guards the ledger, ``_closing``, ``_forking``, the thread that forks now, and
    ``_reopening``, what has no attributes at the moment. No connection is opened, reset or
    closed under it. ``_back`` tells that a connection was closed, or that a fork is over.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._config = engine.config.pool
        self._reads_only = engine.config.read_only
        threshold = self._config.leak_threshold
        self._leak_threshold = inf if threshold is None else threshold
        self._max_lifetime = self._config.max_lifetime
        self._ledger: Ledger[Connection, Waiter] = Ledger(self._config.max_size)
        self._lock = threading.Lock()
        self._back = threading.Condition(self._lock)
        self._closing = False
        self._forking = 0
        self._reopening: set[Connection] = set()
        self._next_look = 0.0

    def open(self) -> None:
        """Open the first connection, which creates and checks the database."""
        try:
            first = self._opened(self.engine.prepare)
        except BaseException:
            self.engine.finish()
            raise
        self._ledger.known.add(first)
        self._ledger.free(first, monotonic())

    @property
    def size(self) -> int:
        """How many connections there are: idle, out, or being opened."""
        return self._ledger.size

    def out(self) -> list[tuple[Connection, Borrower]]:
        """The connections that are out, and to whom."""
        with self._lock:
            return self._out()

    def _out(self) -> list[tuple[Connection, Borrower]]:
        out = list(self._ledger.out.items())
        return [each for each in out if each[0] not in self._reopening]

    def _opened(self, open_: Callable[[], Connection]) -> Connection:
        counters, began = self._ledger.counters, monotonic()
        counters.connections_num += 1
        try:
            return open_()
        except BaseException:
            counters.connections_errors += 1
            raise
        finally:
            counters.connections_ms += (monotonic() - began) * 1000

    def _hand_out(self, connection: Connection, borrower: Borrower) -> None:
        self._ledger.out[connection] = borrower
        connection.lend(borrower)

    def _discard(self, connection: Connection) -> None:
        """Close a connection and give its place to the next. Safe to call twice."""
        ledger = self._ledger
        with self._lock:
            ledger.out.pop(connection, None)
        self.engine.close(connection)  # if that is interrupted, it is found among the strays
        self._leave(ledger.known, connection)

    def _abandon(self, borrower: Borrower) -> None:
        """Give the place of a connection that ``borrower`` does not open to the next."""
        self._leave(self._ledger.opening, borrower)

    def _leave(self, places: set[Any], which: object) -> None:
        with self._lock:
            places.discard(which)
            self._vacate()
            empty = self._closing and not self._ledger.size
        if empty:
            self.engine.finish()

    def _vacate(self) -> None:
        waiter = self._ledger.vacate()
        if waiter is not None:
            self._ledger.opening.add(waiter.borrower)
            waiter.grant(None)
        self._back.notify_all()

    # -- looking after what is out --------------------------------------------------------

    def holders(self) -> list[Holder]:
        """Who holds a connection now, the longest first."""
        return sorted((self._record(*each) for each in self.out()), key=lambda each: -each.seconds)

    def look_after(self) -> None:
        """Close what is idle for too long, report what is out for too long, reclaim the rest."""
        now = monotonic()
        self._next_look = now + min(LOOK, self._config.max_idle)
        with self._lock:
            unwanted = self._ledger.expire(now - self._config.max_idle) + self._ledger.strays()
            vain = [each for each in self._ledger.opening if each.gone()]
        for each in unwanted:
            self._discard(each)
        for borrower in vain:
            self._abandon(borrower)
        for connection, borrower in self.out():
            if borrower.gone():
                self._reclaim(connection, borrower)
            else:
                record = self._overdue(connection, borrower, monotonic())
                if record is not None:
                    report.leak(self.engine.place, borrower, record, "is still out")

    def _reclaim(self, connection: Connection, borrower: Borrower) -> None:
        record, block = self._record(connection, borrower), _Block()
        with self._lock:
            if self._ledger.out.get(connection) is not borrower:
                return
            self._ledger.out[connection] = Borrower(None, block)  # or two would do this at once
            self._ledger.counters.returns_bad += 1
            self._ledger.counters.connections_lost += 1
        with contextlib.suppress(sqlite3.Error):
            connection.take_back()
        self._discard(connection)
        if not borrower.unwound:
            what = "was never given back, and its borrower is gone"
            report.leak(self.engine.place, borrower, record, what)

    def _overdue(self, connection: Connection, borrower: Borrower, now: float) -> Holder | None:
        if now - connection.since < self._leak_threshold or connection.told:
            return None
        connection.told = True
        return self._record(connection, borrower)

    def _record(self, connection: Connection, borrower: Borrower) -> Holder:
        running = connection.running
        return holder(
            self.engine.name,
            borrower,
            lent=connection.since,
            read_only=connection.read_only,
            statement=running and running[0],
            reading_since=connection.reading_since(),
        )

    def stats(self) -> dict[str, int | float]:
        """The figures at this moment, and those counted since the pool was opened."""
        self.look_after()
        reading = [each.reading_since() for each, _ in self.out()]
        now, ledger = monotonic(), self._ledger
        oldest = min((since for since in reading if since is not None), default=now)
        wal_bytes = self.engine.wal_bytes()
        with self._lock:
            return {
                "pool_min": 0,
                "pool_max": ledger.max_size,
                "pool_size": ledger.size,
                "pool_available": len(ledger.idle),
                "requests_waiting": len(ledger.waiters),
                "wal_bytes": wal_bytes,
                "wal_reader_ms": round((now - oldest) * 1000),
                **{name: round(figure) for name, figure in vars(ledger.counters).items()},
            }
