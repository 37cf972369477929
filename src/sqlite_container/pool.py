"""Lending connections: the fair queue, time-outs, give-back, and what is around a fork."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import threading
from collections.abc import Callable
from math import inf
from threading import get_ident
from time import monotonic

from . import report
from .borrower import Borrower, Holder, holder
from .connection import Connection
from .engine import Engine
from .errors import (
    DatabaseClosed,
    PoolTimeout,
    TooManyRequests,
)
from .inherit import keep_for_ever
from .lending import Ledger

_LOOK = 1.0
"""Seconds after which somebody who waits looks for connections that nobody will give back."""


class _Waiter:
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


class Pool:
    """The connections of one open database.

    ``_lock`` guards the ledger, ``_closing``, ``_forking``, the thread that forks now, and
    ``_reopening``, what has no attributes at the moment. No connection is opened, reset or
    closed under it. ``_back`` tells that a connection was closed, or that a fork is over.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        home = engine.home
        home.give_back, home.reopen, home.look_after = self.give_back, self.reopen, self.look_after
        self._config = engine.config.pool
        self._reads_only = engine.config.read_only
        threshold = self._config.leak_threshold
        self._leak_threshold = inf if threshold is None else threshold
        self._max_lifetime = self._config.max_lifetime
        self._ledger: Ledger[Connection, _Waiter] = Ledger(self._config.max_size)
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

    # -- lending ------------------------------------------------------------------------

    def lend(self, borrower: Borrower, *, read_only: bool) -> Connection:
        """Give ``borrower`` a connection, waiting for at most ``pool.timeout`` seconds.

        Raises :class:`PoolTimeout`, :class:`TooManyRequests`, :class:`DatabaseClosed`, and
        what opening a connection raises.
        """
        read_only = read_only or self._reads_only
        ledger = self._ledger
        waiter = None
        with self._lock:
            if self._forking or self._closing:
                self._wait_for_fork()
                self._refuse_if_closing()
            ledger.counters.requests_num += 1
            connection = None if ledger.waiters else ledger.take(read_only=read_only)
            if connection is not None:
                self._hand_out(connection, borrower)
            elif ledger.waiters or not ledger.reserve(borrower):
                waiter = self._enqueue(borrower)
        if waiter is not None:
            connection = self._wait(waiter)
        if connection is None or connection.read_only is not read_only:
            return self._prepare(connection, borrower, read_only=read_only)
        return connection

    def _hand_out(self, connection: Connection, borrower: Borrower) -> None:
        self._ledger.out[connection] = borrower
        connection.lend(borrower)

    def _enqueue(self, borrower: Borrower) -> _Waiter:
        counters, limit = self._ledger.counters, self._config.max_waiting
        if limit and len(self._ledger.waiters) >= limit:
            counters.requests_errors += 1
            raise TooManyRequests(
                f"{self.engine.place}: {limit} requests wait for a connection already"
                " (pool.max_waiting)"
            )
        counters.requests_queued += 1
        waiter = _Waiter(borrower)
        self._ledger.waiters.append(waiter)
        return waiter

    def _wait(self, waiter: _Waiter) -> Connection | None:
        began = monotonic()
        deadline = began + self._config.timeout
        try:
            while not waiter.bell.acquire(timeout=max(0.0, min(_LOOK, deadline - monotonic()))):
                self._find_the_dead()
                if monotonic() >= deadline:
                    break
        except BaseException:
            self._give_up(waiter)
            raise
        return self._accept(waiter, monotonic() - began)

    def _find_the_dead(self) -> None:
        """Look after what is out; a context that a dead thread has left may be in a circle."""
        borrowers = [borrower for _, borrower in self.out()]
        if any(not each.thread.is_alive() and not each.gone() for each in borrowers):
            gc.collect()
        self.look_after()

    def _accept(self, waiter: _Waiter, waited: float) -> Connection | None:
        """Take what was granted, also if it was granted while the wait ended."""
        with self._lock:
            counters = self._ledger.counters
            counters.requests_wait_ms += waited * 1000
            if waiter.granted:
                if waiter.connection is not None:
                    waiter.connection.lend(waiter.borrower)  # to this thread
                return waiter.connection
            counters.requests_errors += 1
            if waiter in self._ledger.waiters:
                self._ledger.waiters.remove(waiter)
            self._refuse_if_closing()
        raise self._timed_out(waited)

    def _give_up(self, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.granted:
                if waiter in self._ledger.waiters:
                    self._ledger.waiters.remove(waiter)
                return
        if waiter.connection is None:
            self._abandon(waiter.borrower)
        else:
            self.give_back(waiter.connection, waiter.borrower)

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
            self._discard(connection)
            raise
        return connection

    def _open_one(self, borrower: Borrower, *, read_only: bool) -> Connection:
        try:
            connection = self._opened(lambda: self.engine.connect(read_only=read_only))
        except BaseException:
            self._abandon(borrower)
            raise
        with self._lock:
            self._ledger.opened(connection, borrower)
            connection.lend(borrower)
            closing = self._closing
        if closing:
            self._discard(connection)
            self._refuse_if_closing()
        return connection

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

    def _refuse_if_closing(self) -> None:
        if self._closing:
            raise DatabaseClosed(f"{self.engine.place}: it is closed, or closing")

    def _timed_out(self, waited: float) -> PoolTimeout:
        out = "; ".join(map(str, self.holders()))
        return PoolTimeout(
            f"{self.engine.place}: no connection came free within {waited:.2f} s"
            f" (pool.timeout); all {self._config.max_size} (pool.max_size) are out: {out}"
        )

    # -- giving back --------------------------------------------------------------------

    def give_back(self, connection: Connection, borrower: Borrower) -> None:
        """End the loan. Safe to call twice: only the one who holds a connection gives it back.

        What was not committed is rolled back, and reported. Raises nothing but what
        interrupts the thread.
        """
        if connection.borrower is not borrower:
            return
        now, lent = monotonic(), connection.since
        overdue = now - lent >= self._leak_threshold
        record = self._overdue(connection, borrower, now) if overdue else None
        uncommitted = healthy = False
        try:
            uncommitted = connection.take_back()
            healthy = connection.usable
        except sqlite3.Error as error:
            report.logger.warning("%s: a connection is replaced: %s", self.engine.place, error)
        finally:
            self._settle(connection, now, healthy=healthy)
        if uncommitted:
            # Not of the connection: it may be out to the next by now.
            told = holder(self.engine.name, borrower, lent=lent, read_only=False)
            report.uncommitted(self.engine.place, borrower, told)
        if record is not None:
            report.leak(self.engine.place, borrower, record, "was out")

    def _settle(self, connection: Connection, now: float, *, healthy: bool) -> None:
        """Lend it to the next, keep it, or close it."""
        ledger = self._ledger
        with self._lock:
            ledger.counters.usage_ms += (now - connection.since) * 1000
            keep = healthy and not self._closing and now - connection.born <= self._max_lifetime
            if keep:
                ledger.out.pop(connection, None)
                waiter = ledger.free(connection, now)
                if waiter is not None:
                    self._hand_out(connection, waiter.borrower)
                    waiter.grant(connection)
            elif not healthy:
                ledger.counters.returns_bad += 1
        if not keep:
            self._discard(connection)
        if now >= self._next_look:
            self.look_after()

    def _discard(self, connection: Connection) -> None:
        """Close a connection and give its place to the next. Safe to call twice."""
        ledger = self._ledger
        with self._lock:
            ledger.out.pop(connection, None)
        self.engine.close(connection)  # if that is interrupted, it is found among the strays
        with self._lock:
            ledger.known.discard(connection)
            self._vacate()
            empty = self._closing and not ledger.size
        if empty:
            self.engine.finish()

    def _abandon(self, borrower: Borrower) -> None:
        """Give the place of a connection that ``borrower`` does not open to the next."""
        with self._lock:
            self._ledger.opening.discard(borrower)
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
        self._next_look = now + min(_LOOK, self._config.max_idle)
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

    # -- closing (see closing.py) ---------------------------------------------------------

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

    def refuse_new_loans(self) -> None:
        """Begin to close: refuse new loans and those who wait for one, close what is idle."""
        with self._lock:
            self._closing = self.engine.home.closing = True
            for waiter in self._ledger.waiters:
                waiter.bell.release()
            self._ledger.waiters.clear()
            idle = self._ledger.drain()
        if idle:
            self.engine.optimize(idle[-1])
        for connection in idle:
            self._discard(connection)
        if not idle and not self._ledger.size:
            self.engine.finish()

    def wait_for_return(self, timeout: float) -> None:
        """Wait until a connection was closed, or the time is over."""
        with self._lock:
            if self._ledger.size:
                self._back.wait(timeout)

    def interrupt(self, *, running_since: float) -> None:
        """Interrupt what is out and runs since then, or may be fetching.

        Under the lock: a connection that has come back, and is being closed, must not be
        interrupted any more.
        """
        with self._lock:
            for connection, _ in self._out():
                running = connection.running
                if running is None or connection.fetching or running[1] <= running_since:
                    with contextlib.suppress(sqlite3.ProgrammingError):  # its borrower closed it
                        sqlite3.Connection.interrupt(connection)

    def leave(self, connection: Connection, borrower: Borrower, timeout: float) -> None:
        """Leave a connection to its borrower, who may only give it back; report it."""
        record = self._record(connection, borrower)
        connection.revoke(f"{self.engine.place} was closed while this connection was out")
        what = f"did not come back within {timeout:g} s of closing, and is left to its borrower"
        report.leak(self.engine.place, borrower, record, what)

    # -- around a fork --------------------------------------------------------------------

    def park(self) -> bool:
        """Close what can be closed before a fork; tell whether to wait for no other thread.

        Idle connections are closed. Those that are out lose their handle too, unless they are
        in a transaction or have a cursor open; each gets a new one when it is used next.
        """
        with self._lock:
            self._forking = get_ident()
            idle, out = self._ledger.drain(), self._out()
        for connection in idle:
            self._discard(connection)
        left = [connection for connection, _ in out if not connection.park()]
        being_opened = bool(self._ledger.opening or self._reopening)
        return not being_opened and all(each.thread == self._forking for each in left)

    def fork_is_over(self) -> None:
        """In the parent: let those go on who waited for the fork."""
        with self._lock:
            self._forking = 0
            self._back.notify_all()

    def forget(self) -> None:
        """In the child: leave what was inherited, for ever."""
        for borrower in self._ledger.out.values():
            borrower.forget()
        for connection in self._ledger.known:
            if connection in self._reopening:
                keep_for_ever(connection)
            else:
                connection.inherited()
        being_opened = bool(self._ledger.opening or self._reopening)
        clean = not being_opened and all(each.parked for each in self._ledger.known)
        self.engine.forget(clean=clean)

    def _wait_for_fork(self) -> None:
        """Wait, with the lock held, until no fork is going on in another thread."""
        while self._forking not in (0, get_ident()):
            self._back.wait()

    def reopen(self, connection: Connection) -> None:
        """Give a connection that is parked a handle again, after the fork.

        It may turn out that it keeps its handle, because it was in use: see ``park``.
        """
        with self._lock:
            while connection.parked and self._forking not in (0, get_ident()):
                self._back.wait(0.001)
            if not connection.parked:
                return
            self._reopening.add(connection)
        try:
            self.engine.reopen(connection)
        finally:
            with self._lock:
                self._reopening.discard(connection)
