"""Lending connections: the fair queue, time-outs, give-back, and what is around a fork."""

from __future__ import annotations

import contextlib
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
from .lending import Ledger

_LOOK = 1.0
"""Seconds after which somebody who waits looks for connections that nobody will give back."""


class _Waiter:
    """A thread in the queue. What it is granted, it is granted under the pool's lock."""

    __slots__ = ("bell", "connection", "granted")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.granted = False
        self.bell = threading.Lock()
        self.bell.acquire()

    def grant(self, connection: Connection | None) -> None:
        """Hand over a connection, or with None the right to open one."""
        self.connection = connection
        self.granted = True
        self.bell.release()


class Pool:
    """The connections of one open database.

    ``_lock`` guards the ledger, ``_closing`` and ``_forking``, the thread that forks now. No
    connection is opened, reset or closed under it. ``_back`` tells that a connection was
    closed, or that a fork is over.
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
        self._next_look = 0.0

    def open(self) -> None:
        """Open the first connection, which creates and checks the database."""
        try:
            first = self._opened(self.engine.prepare)
        except BaseException:
            self.engine.finish()
            raise
        self._ledger.reserve()
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
            elif ledger.waiters or not ledger.reserve():
                waiter = self._enqueue()
        if waiter is not None:
            connection = self._wait(waiter, borrower)
        if connection is None or connection.read_only is not read_only:
            return self._prepare(connection, borrower, read_only=read_only)
        return connection

    def _hand_out(self, connection: Connection, borrower: Borrower) -> None:
        self._ledger.out[connection] = borrower
        connection.lend(borrower)

    def _enqueue(self) -> _Waiter:
        counters, limit = self._ledger.counters, self._config.max_waiting
        if limit and len(self._ledger.waiters) >= limit:
            counters.requests_errors += 1
            raise TooManyRequests(
                f"{self.engine.place}: {limit} requests wait for a connection already"
                " (pool.max_waiting)"
            )
        counters.requests_queued += 1
        waiter = _Waiter()
        self._ledger.waiters.append(waiter)
        return waiter

    def _wait(self, waiter: _Waiter, borrower: Borrower) -> Connection | None:
        began = monotonic()
        deadline = began + self._config.timeout
        try:
            while not waiter.bell.acquire(timeout=max(0.0, min(_LOOK, deadline - monotonic()))):
                self.look_after()
                if monotonic() >= deadline:
                    break
        except BaseException:
            self._give_up(waiter)
            raise
        return self._accept(waiter, borrower, monotonic() - began)

    def _accept(self, waiter: _Waiter, borrower: Borrower, waited: float) -> Connection | None:
        """Take what was granted, also if it was granted while the wait ended."""
        with self._lock:
            counters = self._ledger.counters
            counters.requests_wait_ms += waited * 1000
            if waiter.granted:
                if waiter.connection is not None:
                    self._hand_out(waiter.connection, borrower)
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
            elif waiter.connection is None:
                self._vacate()
            else:
                self._free(waiter.connection, monotonic())

    def _prepare(
        self, connection: Connection | None, borrower: Borrower, *, read_only: bool
    ) -> Connection:
        """Open what is None, or convert what is of the other kind."""
        try:
            if connection is None:
                connection = self._open_one(borrower, read_only=read_only)
            elif connection.read_only is not read_only:
                self.engine.convert(connection, read_only=read_only)
        except BaseException:
            self._discard(connection)
            raise
        return connection

    def _open_one(self, borrower: Borrower, *, read_only: bool) -> Connection:
        connection = self._opened(lambda: self.engine.connect(read_only=read_only))
        with self._lock:
            self._hand_out(connection, borrower)
            closing = self._closing
            if closing:
                del self._ledger.out[connection]
        if closing:
            self.engine.close(connection)
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
                    waiter.grant(connection)
            elif not healthy:
                ledger.counters.returns_bad += 1
        if not keep:
            self._discard(connection)
        if now >= self._next_look:
            self.look_after()

    def _free(self, connection: Connection, now: float) -> None:
        waiter = self._ledger.free(connection, now)
        if waiter is not None:
            waiter.grant(connection)

    def _discard(self, connection: Connection | None) -> None:
        """Close a connection and give its place to the next; None if it was never opened."""
        with self._lock:
            self._ledger.out.pop(connection, None)  # type: ignore[arg-type]
        try:
            if connection is not None:
                self.engine.close(connection)
        finally:
            with self._lock:
                self._vacate()
                empty = self._closing and not self._ledger.size
            if empty:
                self.engine.finish()

    def _vacate(self) -> None:
        waiter = self._ledger.vacate()
        if waiter is not None:
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
            expired = self._ledger.expire(now - self._config.max_idle)
        for each in expired:
            self.engine.close(each)
        for connection, borrower in self.out():
            if borrower.gone():
                self._reclaim(connection, borrower)
            else:
                record = self._overdue(connection, borrower, monotonic())
                if record is not None:
                    report.leak(self.engine.place, borrower, record, "is still out")

    def _reclaim(self, connection: Connection, borrower: Borrower) -> None:
        record = self._record(connection, borrower)
        with self._lock:
            if self._ledger.out.get(connection) is not borrower:
                return
            del self._ledger.out[connection]
            self._ledger.counters.returns_bad += 1
            self._ledger.counters.connections_lost += 1
        with contextlib.suppress(sqlite3.Error):
            connection.take_back()
        self._discard(connection)
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
            return list(self._ledger.out.items())

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
            self.engine.close(connection)
        if not self._ledger.size:
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
            for connection in self._ledger.out:
                running = connection.running
                if running is None or connection.fetching or running[1] <= running_since:
                    with contextlib.suppress(sqlite3.ProgrammingError):  # its borrower closed it
                        connection.interrupt()

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
            idle, out = self._ledger.drain(), list(self._ledger.out.items())
        for connection in idle:
            self.engine.close(connection)
        left = [connection for connection, _ in out if not connection.park()]
        being_opened = self._ledger.size > len(out)
        return not being_opened and all(each.thread == self._forking for each in left)

    def fork_is_over(self) -> None:
        """In the parent: let those go on who waited for the fork."""
        with self._lock:
            self._forking = 0
            self._back.notify_all()

    def forget(self) -> None:
        """In the child: leave what was inherited, for ever."""
        inherited = list(self._ledger.out.items())
        inherited += [(connection, None) for connection, _ in self._ledger.idle]
        for connection, borrower in inherited:
            if borrower is not None:
                borrower.forget()
            connection.inherited()
        being_opened = self._ledger.size > len(inherited)
        clean = not being_opened and all(connection.parked for connection, _ in inherited)
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
        if connection.parked:
            self.engine.reopen(connection)
