"""Lending connections: who gets one, who waits, and how each of them comes back."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import get_ident
from time import monotonic
from typing import Any
from weakref import WeakSet

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..connection.inside import entrances
from ..engine.engine import Engine
from ..errors import DatabaseClosed, TooManyRequests
from ..log import logger
from ..threads.bell import Bell
from ..writing.write_lock import WriteLock
from . import reports
from .checkout_queue import CheckoutQueue
from .fork_pause import ForkPause
from .holders import Holder, record_of
from .housekeeper import Housekeeper, Rounds
from .ledger import Ledger
from .waiter import Waiter

LOOK_AT_FILE = 0.5
"""Seconds between two looks whether the file is still the one that is open."""


_pools: WeakSet[Pool] = WeakSet()
"""Every pool of this process."""
rounds = Rounds(_pools)


class Pool:
    """The connections of one open database: lent, given back, closed.

    ``_lock`` guards the ledger, ``closing``, and the fork pause. No connection is opened, reset
    or closed under it, and nothing that loops stands in a block that holds it: an exception at
    the jump back would leave it locked.
    """

    def __init__(self, engine: Engine, write_lock: WriteLock) -> None:
        self.engine = engine
        self.name = engine.name
        self.place = engine.place
        self.write_lock = write_lock
        self.busy_timeout = engine.config.busy_timeout
        self.statement_timeout = engine.config.statement_timeout
        self.row_factory = engine.config.row_factory
        self.text_factory: Any = engine.text_factory
        self.closing = False
        self.retired = False  # closing because nobody used it: its database opens anew
        self.returned = Bell()
        self._config = engine.config.pool
        rounds.hurry(self._config.max_idle)
        self._max_lifetime = self._config.max_lifetime
        self._reads_only = engine.config.read_only
        self._lock = threading.Lock()
        self._ledger: Ledger[Connection, Waiter] = Ledger(self._config.max_size)
        self._queue = CheckoutQueue(self, self._ledger, self._config)
        self._housekeeper = Housekeeper(self, self._config)
        self._fork = ForkPause(self)
        self._next_look_at_file = 0.0
        _pools.add(self)

    def __repr__(self) -> str:
        ledger = self._ledger
        return (
            f"<Pool of database {self.name!r}: {len(ledger.out)} of {ledger.max_size} out,"
            f" {len(ledger.waiters)} waiting>"
        )

    def open(self) -> None:
        """Open the first connection."""
        try:
            first = self._counted(lambda: self.engine.first_connection(self))
        except BaseException:
            self.engine.finish()
            raise
        with self._lock:
            self._ledger.known.add(first)
            self._ledger.keep(first, monotonic())

    # -- lending ------------------------------------------------------------------------

    def lend(self, borrower: Borrower, *, read_only: bool) -> Connection:
        """Give ``borrower`` a connection, waiting for at most ``pool.timeout`` seconds.

        Raises :class:`PoolTimeout`, :class:`TooManyRequests`, :class:`DatabaseClosed`, and
        what opening a connection raises.
        """
        read_only = read_only or self._reads_only
        ledger = self._ledger
        waiter = None
        if self._fork.thread:
            self._fork.wait()
        with self._lock:
            if self.closing:
                raise self.is_closed()
            ledger.counters.requests_num += 1
            connection = None if ledger.waiters else ledger.take(read_only=read_only)
            if connection is not None:
                ledger.out[connection] = borrower
                connection.begin_loan(borrower)
            elif ledger.waiters or not ledger.reserve(borrower):
                waiter = self._queue.enqueue(borrower)
        if waiter is not None:
            connection = self._queue.wait_for(waiter)
        if connection is None or connection.read_only is not read_only:
            connection = self._prepare(connection, borrower, read_only=read_only)
        if not read_only and connection.since >= self._next_look_at_file:
            self._look_at_file(connection, borrower)
        return connection

    def _look_at_file(self, connection: Connection, borrower: Borrower) -> None:
        """Raise :class:`DatabaseReplaced` if the connection would write where nobody looks."""
        self._next_look_at_file = connection.since + LOOK_AT_FILE
        try:
            self.engine.check_file()
        except BaseException:
            self._next_look_at_file = 0.0
            self.give_back(connection, borrower)
            raise

    def begin_stream(self, borrower: Borrower) -> None:
        """Let a borrower keep its connections while it streams.

        Raises :class:`TooManyRequests` if clients that read slowly, or not at all, could keep
        everybody else waiting.
        """
        limit = self._config.max_streaming or max(1, self._config.max_size - 1)
        with self._lock:
            if self._ledger.streams_besides(borrower) < limit:
                borrower.streaming = True
                return
            self._ledger.counters.requests_errors += 1
        raise TooManyRequests(
            f"{self.place}: {limit} connections are kept by responses that are being streamed"
            " (pool.max_streaming); read the rows before the response begins, or raise"
            " pool.max_size and pool.max_streaming"
        )

    def hand_out(self, connection: Connection, borrower: Borrower) -> None:
        """Make a borrower the owner. The caller holds the lock."""
        self._ledger.out[connection] = borrower
        connection.begin_loan(borrower)

    def _prepare(
        self, connection: Connection | None, borrower: Borrower, *, read_only: bool
    ) -> Connection:
        """Open what is None, or convert what is of the other kind."""
        if connection is None:
            connection = self._open_one(borrower, read_only=read_only)
        try:
            if connection.read_only is not read_only:
                self.engine.convert(connection, read_only=read_only)
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def _open_one(self, borrower: Borrower, *, read_only: bool) -> Connection:
        if self._ledger.is_first(borrower):
            self.engine.look_anew()
        try:
            connection = self._counted(lambda: self.engine.connect(self, read_only=read_only))
        except BaseException:
            self.abandon(borrower)
            raise
        with self._lock:
            self._ledger.opened(connection, borrower)
            connection.begin_loan(borrower)
            closing = self.closing
        if closing:
            self.discard(connection)
            raise self.is_closed()
        return connection

    def _counted(self, open_: Callable[[], Connection]) -> Connection:
        counters, began = self._ledger.counters, monotonic()
        counters.connections_num += 1
        try:
            return open_()
        except BaseException:
            counters.connections_errors += 1
            raise
        finally:
            counters.connections_ms += (monotonic() - began) * 1000

    def is_closed(self) -> DatabaseClosed:
        """Make the error for who comes too late."""
        return DatabaseClosed(f"{self.place}: it is closed, or closing")

    # -- giving back --------------------------------------------------------------------

    def give_back(self, connection: Connection, borrower: Borrower | None) -> None:
        """End the loan. Safe to call twice: only the one who holds a connection gives it back.

        What was not committed is rolled back, and reported. While another thread is inside the
        connection, it is left alone until that has left. Raises nothing but what interrupts the
        thread.
        """
        if borrower is None or connection.borrower is not borrower:
            return
        connection.borrower, connection.thread = None, 0  # in line: end_loan() would cost more
        if connection.running is None or connection.is_empty():
            self._return(connection, borrower)
        elif connection.running is not None:
            record = record_of(self.name, borrower, lent=connection.since, connection=connection)
            what = "was given back while a thread was inside it, and goes back when that has left"
            reports.leak(self.place, borrower, record, what)

    def finish_return(self, connection: Connection) -> None:
        """End a loan that was over while somebody was inside the connection."""
        borrower = self._ledger.out.get(connection)
        if borrower is not None:
            self._return(connection, borrower)

    def _return(self, connection: Connection, borrower: Borrower) -> None:
        now, lent, record = monotonic(), connection.since, None
        if now - lent >= self._housekeeper.leak_threshold:
            record = self._housekeeper.overdue(connection, borrower, now)
        mark = "the give-back", now, get_ident(), None
        uncommitted = False
        try:
            with self._lock:
                # One thread ends the loan; from here the connection is a stray, if that fails.
                if self._ledger.out.get(connection) is not borrower:
                    return
                del self._ledger.out[connection]
                connection.running = mark
            uncommitted = connection.reset()
            self._settle(connection, now)
        except sqlite3.Error as error:
            logger.warning("%s: a connection is replaced: %s", self.place, error)
        finally:
            if connection.running is mark:  # that is, it was not settled
                connection.running = None
                self.discard(connection)
        if uncommitted:
            told = record_of(self.name, borrower, lent=lent)
            reports.uncommitted(self.place, borrower, told)
        if record is not None:
            reports.leak(self.place, borrower, record, "was out")

    def _settle(self, connection: Connection, now: float) -> None:
        """Lend it to the next, keep it, or close it."""
        ledger = self._ledger
        healthy = connection.altered is None and not connection.closed and not connection.parked
        with self._lock:
            ledger.counters.usage_ms += (now - connection.since) * 1000
            keep = healthy and not self.closing and now - connection.born <= self._max_lifetime
            connection.running = None
            if keep and ledger.waiters:
                self._queue.pass_on(connection, now)
            elif keep:
                ledger.keep(connection, now)
            elif not healthy:
                ledger.counters.returns_bad += 1
        if not keep:
            self.discard(connection)
        if now >= self._housekeeper.next_look:
            self.look_after()
            rounds.look_after_idle(now)

    def discard(self, connection: Connection) -> None:
        """Close a connection and give its place to the next. Safe to call twice."""
        ledger = self._ledger
        with self._lock:
            ledger.out.pop(connection, None)
        self.engine.close(connection, self.write_lock)  # interrupted, it is found as a stray
        self._leave(ledger.known, connection)

    def abandon(self, borrower: Borrower) -> None:
        """Give the place of a connection that ``borrower`` does not open to the next."""
        self._leave(self._ledger.opening, borrower)

    def _leave(self, places: set[Any], which: object) -> None:
        with self._lock:
            places.discard(which)
            self._queue.grant_room()
            empty = self.closing and not self._ledger.size
        self.returned.ring()
        if empty:
            self.engine.finish()

    def serve_waiters(self) -> None:
        """Hand what is free to those who wait, where an exception has kept it from them."""
        self._queue.serve()

    # -- looking after ------------------------------------------------------------------

    def look_after(self) -> None:
        """Close what is idle for too long, report what is out for too long, reclaim the rest."""
        self._housekeeper.look_after()

    def holders(self) -> list[Holder]:
        """Return who holds a connection now, the longest first."""
        return self._housekeeper.holders()

    def other_writers(self, connection: sqlite3.Connection) -> list[str]:
        """Return who has a transaction open on another connection of this process, in words."""
        return [
            f"thread {borrower.thread.name!r} on database {pool.name!r}"
            for pool in list(_pools)
            for other, borrower in pool.out()
            if other is not connection and other.may_write_now()
        ]

    def out(self) -> list[tuple[Connection, Borrower]]:
        """Return the connections that are out, and to whom."""
        with self._lock:
            return self._fork.whole(self._ledger.out)

    def collect_unwanted(self, idle_before: float) -> list[Connection]:
        """Take out what is idle since before that moment, and what nobody has."""
        with self._lock:
            strays = self._ledger.strays()
        for stray in strays:
            stray.around()
        with self._lock:
            return self._ledger.expire(idle_before) + self._ledger.lost()

    def keeps_until(self) -> float:
        """Return until when the connection is kept that has been idle for longest."""
        with self._lock:
            idle = self._ledger.idle
            return idle[0][1] + self._config.max_idle if idle else inf

    def collect_abandoned(self) -> list[Borrower]:
        """Return the borrowers that were to open a connection, and are gone."""
        with self._lock:
            opening = list(self._ledger.opening)
        return [each for each in opening if each.gone()]

    def reclaim(self, connection: Connection, borrower: Borrower) -> None:
        """Close what nobody will give back, as soon as nobody is inside."""
        if connection.borrower is not borrower and connection.running is not None:
            return  # somebody inside will end the loan
        record = record_of(self.name, borrower, lent=connection.since, connection=connection)
        mark = connection.mark("the give-back")
        with self._lock:
            is_lost = self._ledger.out.get(connection) is borrower
            nobody_inside = is_lost and connection.end_loan()
            if nobody_inside:
                del self._ledger.out[connection]
                connection.running = mark
                self._ledger.counters.returns_bad += 1
                self._ledger.counters.connections_lost += 1
        if not nobody_inside:
            if is_lost:
                what = "was never given back, and goes back when the thread inside it has left"
                reports.leak(self.place, borrower, record, what)
            return
        try:
            with suppress(sqlite3.Error):
                connection.reset()
        finally:
            if connection.running is mark:
                connection.running = None
        self.discard(connection)
        if not borrower.unwound:
            what = "was never given back, and its borrower is gone"
            reports.leak(self.place, borrower, record, what)

    def stats(self) -> dict[str, int | float]:
        """Return the figures at this moment, and those counted since the pool was opened."""
        self.look_after()
        reading = [each.reading_since() for each, _ in self.out()]
        now, ledger = monotonic(), self._ledger
        oldest = min((since for since in reading if since is not None), default=now)
        wal_bytes = self.engine.wal_bytes()
        counted = {name: round(figure) for name, figure in vars(ledger.counters).items()}
        with self._lock:
            return {
                "pool_min": 0,
                "pool_max": ledger.max_size,
                "pool_size": ledger.size,
                "pool_available": len(ledger.idle),
                "requests_waiting": len(ledger.waiters),
                "wal_bytes": wal_bytes,
                "wal_reader_ms": round((now - oldest) * 1000),
                **counted,
            }

    def idle_since(self) -> float | None:
        """Return when a connection was used last; None if one is in use, or about to be."""
        with self._lock:
            return self._ledger.idle_since()

    def retire(self) -> bool:
        """Refuse new loans if nobody has a connection, or waits for one; tell whether it does."""
        with self._lock:
            begun_by_others = self.closing and not self.retired
            if begun_by_others or self._ledger.idle_since() is None:
                return False
            self.retired = self.closing = True
            return True

    # -- closing (see closing.py) ---------------------------------------------------------

    @property
    def size(self) -> int:
        """How many connections there are: idle, out, or being opened."""
        return self._ledger.size

    def refuse_new_loans(self) -> None:
        """Begin to close: refuse new loans and those who wait for one, close what is idle."""
        with self._lock:
            self.closing = True
            waiters, idle = list(self._ledger.waiters), self._ledger.drain()
            self._ledger.waiters.clear()
        for waiter in waiters:
            waiter.bell.ring()
        if idle:
            self.engine.optimize(idle[-1], self.write_lock)
        for connection in idle:
            self.discard(connection)
        if not idle and not self._ledger.size:
            self.engine.finish()

    def interrupt(self, *, running_since: float) -> None:
        """Interrupt what is out and runs since then, or may be running unseen."""
        for connection, _ in self.out():
            self._interrupt(connection, running_since)

    def _interrupt(self, connection: Connection, running_since: float) -> None:
        """Under the lock: what has come back, and is being closed, must not be interrupted."""
        with self._lock, suppress(sqlite3.ProgrammingError):
            if connection in self._ledger.out:
                running = connection.running
                if running is None or running[1] <= running_since:
                    sqlite3.Connection.interrupt(connection)

    def leave_to_borrower(self, connection: Connection, borrower: Borrower, timeout: float) -> None:
        """Leave a connection to its borrower, who may only give it back; report it."""
        record = record_of(self.name, borrower, lent=connection.since, connection=connection)
        connection.revoke(f"{self.place} was closed while this connection was out")
        what = f"did not come back within {timeout:g} s of closing, and is left to its borrower"
        reports.leak(self.place, borrower, record, what)

    # -- around a fork (see fork_pause.py) -------------------------------------------------

    @property
    def fork(self) -> ForkPause:
        """What is done around a fork."""
        return self._fork

    def reopen(self, connection: Connection) -> None:
        """Give a connection that was parked for a fork a handle again."""
        self._fork.reopen(connection)

    def take_idle(self) -> list[Connection]:
        """Take out everything that is idle."""
        with self._lock:
            return self._ledger.drain()

    @property
    def being_opened(self) -> bool:
        """Whether a connection is being opened."""
        return bool(self._ledger.opening)

    @property
    def known(self) -> set[Connection]:
        """Every connection that is open, also while it goes from one place to the other."""
        return self._ledger.known

    @property
    def lock(self) -> threading.Lock:
        """The pool's lock, which also guards the fork pause."""
        return self._lock


entrances |= {Pool._return.__code__, Pool.reclaim.__code__}
