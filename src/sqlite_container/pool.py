"""Lending connections: the fair queue, time-outs, give-back, and closing while in use."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from time import monotonic

from . import report
from .borrower import Borrower, Holder, holder
from .connection import Connection
from .engine import Engine
from .errors import (
    DatabaseClosed,
    LeakWarning,
    PoolTimeout,
    TooManyRequests,
    UncommittedWarning,
)
from .lending import Ledger

GRACE = 0.2
"""Seconds for which a statement may go on when its database closes, before it is interrupted."""
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

    ``_lock`` guards the ledger and ``_closing``. Nobody opens, closes, resets or waits for a
    connection while holding it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.home.give_back = self.give_back
        self._config = engine.config.pool
        self._ledger: Ledger[Connection, _Waiter] = Ledger(self._config.max_size)
        self._lock = threading.Lock()
        self._back = threading.Condition(self._lock)
        self._closing = False
        self._next_look = 0.0

    def open(self) -> None:
        """Open the first connection, which creates and checks the database."""
        try:
            first = self._opened(self._engine.prepare)
        except BaseException:
            self._engine.finish()
            raise
        self._ledger.reserve()
        self._ledger.free(first, monotonic())

    # -- lending ------------------------------------------------------------------------

    def lend(self, borrower: Borrower, *, read_only: bool) -> Connection:
        """Give ``borrower`` a connection, waiting for at most ``pool.timeout`` seconds.

        Raises :class:`PoolTimeout`, :class:`TooManyRequests`, :class:`DatabaseClosed`, and
        what opening a connection raises.
        """
        ledger = self._ledger
        with self._lock:
            self._refuse_if_closing()
            ledger.counters.requests_num += 1
            waiter = None
            connection = None if ledger.waiters else ledger.take(read_only=read_only)
            if connection is not None:
                ledger.out[connection] = borrower
            elif ledger.waiters or not ledger.reserve():
                waiter = self._enqueue()
        if waiter is not None:
            connection = self._wait(waiter, borrower)
        return self._hand_over(connection, borrower, read_only=read_only)

    def _enqueue(self) -> _Waiter:
        counters, limit = self._ledger.counters, self._config.max_waiting
        if limit and len(self._ledger.waiters) >= limit:
            counters.requests_errors += 1
            raise TooManyRequests(
                f"{self._engine.place}: {limit} requests wait for a connection already"
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
            counters.requests_wait_ms += round(waited * 1000)
            if waiter.granted:
                if waiter.connection is not None:
                    self._ledger.out[waiter.connection] = borrower
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

    def _hand_over(
        self, connection: Connection | None, borrower: Borrower, *, read_only: bool
    ) -> Connection:
        read_only = read_only or self._engine.config.read_only
        try:
            if connection is None:
                connection = self._open_one(borrower, read_only=read_only)
            elif connection.read_only is not read_only:
                self._engine.convert(connection, read_only=read_only)
        except BaseException:
            self._discard(connection)
            raise
        connection.lend(borrower)
        return connection

    def _open_one(self, borrower: Borrower, *, read_only: bool) -> Connection:
        connection = self._opened(lambda: self._engine.connect(read_only=read_only))
        with self._lock:
            self._ledger.out[connection] = borrower
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
            counters.connections_ms += round((monotonic() - began) * 1000)

    def _refuse_if_closing(self) -> None:
        if self._closing:
            raise DatabaseClosed(f"{self._engine.place}: it is closed, or closing")

    def _timed_out(self, waited: float) -> PoolTimeout:
        out = "; ".join(map(str, self.holders()))
        return PoolTimeout(
            f"{self._engine.place}: no connection came free within {waited:.2f} s"
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
        record = self._overdue(connection, borrower)
        uncommitted = healthy = False
        try:
            uncommitted = connection.take_back()
            healthy = connection.usable
        except sqlite3.Error as error:
            report.logger.warning("%s: a connection is replaced: %s", self._engine.place, error)
        finally:
            self._settle(connection, borrower, healthy=healthy)
        if uncommitted:
            self._report_uncommitted(borrower)
        if record is not None:
            self._report_leak(borrower, record, "was out")

    def _settle(self, connection: Connection, borrower: Borrower, *, healthy: bool) -> None:
        """Lend it to the next, keep it, or close it."""
        now = monotonic()
        ledger = self._ledger
        with self._lock:
            ledger.counters.usage_ms += round((now - borrower.since) * 1000)
            keep = healthy and not self._closing
            keep = keep and now - connection.born <= self._config.max_lifetime
            if keep:
                ledger.out.pop(connection, None)
                self._free(connection, now)
            ledger.counters.returns_bad += not healthy
            expired = ledger.expire(now - self._config.max_idle)
        if not keep:
            self._discard(connection)
        for each in expired:
            self._engine.close(each)
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
                self._engine.close(connection)
        finally:
            with self._lock:
                self._vacate()
            if self._closing:
                self._finish_if_empty()

    def _vacate(self) -> None:
        waiter = self._ledger.vacate()
        if waiter is not None:
            waiter.grant(None)
        self._back.notify_all()

    # -- looking after what is out --------------------------------------------------------

    def holders(self) -> list[Holder]:
        """Who holds a connection now, the longest first."""
        with self._lock:
            out = list(self._ledger.out.items())
        return sorted((self._record(*each) for each in out), key=lambda each: -each.seconds)

    def look_after(self) -> None:
        """Take back what nobody is left to give back; report what is out for too long."""
        self._next_look = monotonic() + _LOOK
        with self._lock:
            out = list(self._ledger.out.items())
        for connection, borrower in out:
            if borrower.gone():
                self._reclaim(connection, borrower)
            else:
                record = self._overdue(connection, borrower)
                if record is not None:
                    self._report_leak(borrower, record, "is still out")

    def _reclaim(self, connection: Connection, borrower: Borrower) -> None:
        record = self._record(connection, borrower)
        with self._lock:
            if self._ledger.out.get(connection) is not borrower:
                return
            del self._ledger.out[connection]
            self._ledger.counters.returns_bad += 1
        with contextlib.suppress(sqlite3.Error):
            connection.take_back()
        self._discard(connection)
        self._report_leak(borrower, record, "was never given back, and its borrower is gone")

    def _overdue(self, connection: Connection, borrower: Borrower) -> Holder | None:
        limit = self._config.leak_threshold
        if limit is None or borrower.told or monotonic() - borrower.since < limit:
            return None
        borrower.told = True
        return self._record(connection, borrower)

    def _record(self, connection: Connection, borrower: Borrower) -> Holder:
        running = connection.running
        return holder(
            self._engine.name,
            borrower,
            read_only=connection.read_only,
            statement=running and running[0],
        )

    def _report_leak(self, borrower: Borrower, record: Holder, what: str) -> None:
        message = f"{self._engine.place}: a connection {what}: {record}"
        report.warn(message, LeakWarning, borrower.origin)

    def _report_uncommitted(self, borrower: Borrower) -> None:
        record = holder(self._engine.name, borrower, read_only=False, statement=None)
        message = (
            f"{self._engine.place}: a transaction was open when its connection went back, and was"
            f" rolled back; commit it, or write in a 'with db:' block: {record}"
        )
        report.warn(message, UncommittedWarning, borrower.origin)

    def stats(self) -> dict[str, int | float]:
        """The figures at this moment, and those counted since the pool was opened."""
        self.look_after()
        ledger = self._ledger
        with self._lock:
            return {
                "pool_min": 0,
                "pool_max": ledger.max_size,
                "pool_size": ledger.size,
                "pool_available": len(ledger.idle),
                "requests_waiting": len(ledger.waiters),
                **vars(ledger.counters),
            }

    # -- closing ------------------------------------------------------------------------

    def close(self, timeout: float) -> None:
        """Refuse new loans, wait for those that are out, interrupt what runs on, and close.

        Blocks for at most about ``timeout`` seconds. A connection that has not come back by
        then is not closed under its borrower, which could crash the interpreter: it is
        reported, refuses every further statement, and is closed when it is given back. Safe
        to call again, and from several threads.
        """
        self._close_idle()
        began = monotonic()
        deadline = began + timeout
        grace = min(GRACE, timeout / 2)
        self._wait_until_empty(began + grace)
        while monotonic() < deadline and self._ledger.size:
            self._interrupt(grace)
            self._wait_until_empty(min(deadline, monotonic() + 0.05))
        self._leave_the_rest(timeout)
        self._finish_if_empty()

    def _close_idle(self) -> None:
        with self._lock:
            self._closing = self._engine.home.closing = True
            for waiter in self._ledger.waiters:
                waiter.bell.release()
            self._ledger.waiters.clear()
            idle = self._ledger.drain()
        if idle:
            self._engine.optimize(idle[-1])
        for connection in idle:
            self._engine.close(connection)

    def _wait_until_empty(self, deadline: float) -> None:
        self.look_after()
        with self._lock:
            self._back.wait_for(lambda: not self._ledger.size, max(0.0, deadline - monotonic()))

    def _interrupt(self, grace: float) -> None:
        """Interrupt what runs for longer than the grace, fetching included.

        Where nothing runs this does nothing, and where it does it ends by itself soon: the
        borrower sees an error, lets go, and the connection comes back.
        """
        with self._lock:
            out = list(self._ledger.out)
        for connection in out:
            running = connection.running
            if running is None or monotonic() - running[1] >= grace:
                with contextlib.suppress(sqlite3.ProgrammingError):  # closed by its borrower
                    connection.interrupt()

    def _leave_the_rest(self, timeout: float) -> None:
        with self._lock:
            out = list(self._ledger.out.items())
        for connection, borrower in out:
            if connection.revoked:
                continue
            record = self._record(connection, borrower)
            connection.revoke(f"{self._engine.place} was closed while this connection was out")
            what = f"did not come back within {timeout:g} s of closing, and is left to its borrower"
            self._report_leak(borrower, record, what)

    def _finish_if_empty(self) -> None:
        if not self._ledger.size:
            self._engine.finish()
