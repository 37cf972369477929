"""The queue of those who wait for a connection: first come, first served."""

from __future__ import annotations

import gc
import threading
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..errors import DatabaseClosed, PoolTimeout, TooManyRequests
from . import housekeeper
from .holders import Holder
from .ledger import Ledger
from .waiter import Waiter

if TYPE_CHECKING:
    from ..config import PoolConfig


class Counter(Protocol):
    """The pool, as those who wait at it know it."""

    place: str
    closing: bool

    @property
    def lock(self) -> threading.Lock:
        """Guards the ledger."""
        ...

    def hand_out(self, connection: Connection, borrower: Borrower) -> None:
        """Make a borrower the owner. The caller holds the lock."""
        ...

    def give_back(self, connection: Connection, borrower: Borrower | None) -> None:
        """End a loan."""
        ...

    def abandon(self, borrower: Borrower) -> None:
        """Give the place of a connection that was not opened to the next."""
        ...

    def out(self) -> list[tuple[Connection, Borrower]]:
        """Return the connections that are out, and to whom."""
        ...

    def look_after(self) -> None:
        """Reclaim what nobody will give back, and serve those who wait."""
        ...

    def holders(self) -> list[Holder]:
        """Return who holds a connection now."""
        ...

    def is_closed(self) -> DatabaseClosed:
        """Make the error for who comes too late."""
        ...


class CheckoutQueue:
    """Those who wait for a connection of one pool, and how they are served."""

    __slots__ = ("_config", "_ledger", "_pool")

    def __init__(
        self, pool: Counter, ledger: Ledger[Connection, Waiter], config: PoolConfig
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._config = config

    def enqueue(self, borrower: Borrower) -> Waiter:
        """Add a waiter to the queue. The caller holds the lock."""
        counters, limit = self._ledger.counters, self._config.max_waiting
        if limit and len(self._ledger.waiters) >= limit:
            counters.requests_errors += 1
            raise TooManyRequests(
                f"{self._pool.place}: {limit} requests wait for a connection already"
                " (pool.max_waiting)"
            )
        counters.requests_queued += 1
        waiter = Waiter(borrower)
        self._ledger.waiters.append(waiter)
        return waiter

    def wait_for(self, waiter: Waiter) -> Connection | None:
        began = monotonic()
        deadline = began + self._config.timeout
        try:
            while not waiter.bell.wait(min(housekeeper.LOOK, deadline - monotonic())):
                self._find_the_dead()
                if waiter.granted or self._pool.closing or monotonic() >= deadline:
                    break
        except BaseException:
            self._give_up(waiter)
            raise
        return self._accept(waiter, monotonic() - began)

    def _find_the_dead(self) -> None:
        """Look after what is out; what a dead borrower left may be in a circle of references."""
        if any(each.thread_is_over() and not each.gone() for _, each in self._pool.out()):
            gc.collect()
        self._pool.look_after()

    def _accept(self, waiter: Waiter, waited: float) -> Connection | None:
        """Take what was granted, also if it was granted while the wait ended."""
        with self._pool.lock:
            counters = self._ledger.counters
            counters.requests_wait_ms += waited * 1000
            self._ledger.leave_queue(waiter)
            if waiter.granted:
                if waiter.connection is not None:
                    self._pool.hand_out(waiter.connection, waiter.borrower)
                return waiter.connection
            counters.requests_errors += 1
            if self._pool.closing:
                raise self._pool.is_closed()
        raise self._timed_out(waited)

    def _give_up(self, waiter: Waiter) -> None:
        with self._pool.lock:
            self._ledger.leave_queue(waiter)
            granted = waiter.granted
        if granted and waiter.connection is None:
            self._pool.abandon(waiter.borrower)
        elif granted and waiter.connection is not None:
            waiter.connection.begin_loan(waiter.borrower)
            self._pool.give_back(waiter.connection, waiter.borrower)

    def _timed_out(self, waited: float) -> PoolTimeout:
        out = "; ".join(map(str, self._pool.holders()))
        return PoolTimeout(
            f"{self._pool.place}: no connection came free within {waited:.2f} s"
            f" (pool.timeout); all {self._config.max_size} (pool.max_size) are out: {out}"
        )

    def pass_on(self, connection: Connection, now: float) -> None:
        """Give a connection to the first waiter, or keep it. The caller holds the lock.

        In an order in which an exception between two lines loses neither: a waiter that was not
        told finds out by itself. It makes itself the owner, in ``_accept()``.
        """
        ledger = self._ledger
        waiter = ledger.next_waiter()
        if waiter is None:
            ledger.out.pop(connection, None)
            ledger.keep(connection, now)
            return
        connection.since = now
        waiter.grant(connection)
        ledger.out[connection] = waiter.borrower
        ledger.leave_queue(waiter)
        waiter.bell.ring()

    def grant_room(self) -> None:
        """Let the first waiter open a connection, if there is room. The caller holds the lock."""
        ledger = self._ledger
        waiter = ledger.next_waiter() if ledger.has_room else None
        if waiter is not None:
            waiter.grant(None)
            ledger.opening.add(waiter.borrower)
            ledger.leave_queue(waiter)
            waiter.bell.ring()

    def serve(self) -> None:
        """Hand what is free to those who wait, where an exception has kept it from them."""
        with self._pool.lock:
            if self._ledger.waiters and self._ledger.idle:
                self.pass_on(*self._ledger.idle.pop())
            self.grant_room()
