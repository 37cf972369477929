"""Lending connections: the fair queue, time-outs, give-back, and what is around a fork."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
from threading import get_ident
from time import monotonic

from ..connection.borrower import Borrower, holder
from ..connection.connection import Connection
from ..engine.engine import Engine
from ..errors import DatabaseClosed, PoolTimeout, TooManyRequests
from ..sqlite.fork_safety import keep_for_ever
from . import keeper
from . import reports as report
from .keeper import Keeper, Waiter


class Pool(Keeper):
    """The connections of one open database: lent, given back, closed, parked for a fork."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        home = engine.home
        home.give_back, home.reopen, home.look_after = self.give_back, self.reopen, self.look_after

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

    def _enqueue(self, borrower: Borrower) -> Waiter:
        counters, limit = self._ledger.counters, self._config.max_waiting
        if limit and len(self._ledger.waiters) >= limit:
            counters.requests_errors += 1
            raise TooManyRequests(
                f"{self.engine.place}: {limit} requests wait for a connection already"
                " (pool.max_waiting)"
            )
        counters.requests_queued += 1
        waiter = Waiter(borrower)
        self._ledger.waiters.append(waiter)
        return waiter

    def _wait(self, waiter: Waiter) -> Connection | None:
        began = monotonic()
        deadline = began + self._config.timeout
        try:
            while not waiter.bell.acquire(
                timeout=max(0.0, min(keeper.LOOK, deadline - monotonic()))
            ):
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

    def _accept(self, waiter: Waiter, waited: float) -> Connection | None:
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

    def _give_up(self, waiter: Waiter) -> None:
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

    # -- closing (see closing.py) ---------------------------------------------------------

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
