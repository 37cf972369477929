"""Look after what is out, and after what nobody has: leaks, idle connections, strays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from . import reports
from .holders import Holder, record_of

if TYPE_CHECKING:
    from ..config import PoolConfig

LOOK = 1.0
"""Seconds after which somebody who passes by looks for what nobody will give back."""
ROUND = 10.0
"""Seconds between two looks at the pools that nobody passes by."""
AT_ONCE = 10
"""So many of them are looked after by one who passes by: to close takes time."""


class House(Protocol):
    """The pool, as its housekeeper knows it."""

    @property
    def name(self) -> str:
        """The database's name."""
        ...

    @property
    def place(self) -> str:
        """The database and its file, as a message names them."""
        ...

    def out(self) -> list[tuple[Connection, Borrower]]:
        """The connections that are out, and to whom."""
        ...

    def collect_unwanted(self, idle_before: float) -> list[Connection]:
        """Take out what is idle since before that moment, and what nobody has."""
        ...

    def collect_abandoned(self) -> list[Borrower]:
        """The borrowers that were to open a connection, and are gone."""
        ...

    def discard(self, connection: Connection) -> None:
        """Close a connection, and give its place to the next."""
        ...

    def abandon(self, borrower: Borrower) -> None:
        """Give the place of a connection that was not opened to the next."""
        ...

    def reclaim(self, connection: Connection, borrower: Borrower) -> None:
        """Close what nobody will give back, as soon as nobody is inside."""
        ...

    def keeps_until(self) -> float:
        """Return until when the connection is kept that has been idle for longest."""
        ...

    def look_after(self) -> None:
        """Have its housekeeper look after it."""
        ...

    def serve_waiters(self) -> None:
        """Hand what is free to those who wait, if that was missed."""
        ...


class Rounds:
    """Looks, now and then, after the pools that nobody passes by: their idle connections stay open.

    Whoever gives a connection back to any pool does a part of it.
    """

    def __init__(self, houses: Iterable[House]) -> None:
        self._houses = houses
        self._every = ROUND
        self._next = 0.0

    def hurry(self, max_idle: float) -> None:
        """Look often enough for a pool that keeps its idle connections for so many seconds."""
        self._every = min(self._every, max_idle)

    def look_after_idle(self, now: float) -> None:
        """Close what is idle for too long, in a few pools at a time."""
        if now < self._next:
            return
        self._next = now + self._every
        due = [each for each in list(self._houses) if each.keeps_until() < now]
        for house in due[:AT_ONCE]:
            house.look_after()
        if len(due) > AT_ONCE:
            self._next = now


class Housekeeper:
    """Beside the pool: it decides what is to be done, the pool does it."""

    __slots__ = ("_house", "_max_idle", "leak_threshold", "next_look")

    def __init__(self, house: House, config: PoolConfig) -> None:
        self._house = house
        self._max_idle = config.max_idle
        self.leak_threshold = inf if config.leak_threshold is None else config.leak_threshold
        self.next_look = 0.0

    def look_after(self) -> None:
        """Close what is idle for too long, report what is out for too long, reclaim the rest."""
        now = monotonic()
        self.next_look = now + min(LOOK, self._max_idle)
        house = self._house
        for connection in house.collect_unwanted(now - self._max_idle):
            house.discard(connection)
        for borrower in house.collect_abandoned():
            house.abandon(borrower)
        for connection, borrower in house.out():
            self._look_at(connection, borrower)
        house.serve_waiters()

    def _look_at(self, connection: Connection, borrower: Borrower) -> None:
        if borrower.gone():
            self._house.reclaim(connection, borrower)
        elif (record := self.overdue(connection, borrower, monotonic())) is not None:
            reports.leak(self._house.place, borrower, record, "is still out")

    def overdue(self, connection: Connection, borrower: Borrower, now: float) -> Holder | None:
        """Return the record of a loan that is out for too long and was not reported yet."""
        if now - connection.since < self.leak_threshold or connection.reported:
            return None
        connection.reported = True
        return record_of(self._house.name, borrower, lent=connection.since, connection=connection)

    def holders(self) -> list[Holder]:
        """Return who holds a connection now, the longest first."""
        return sorted(self._records(), key=lambda each: -each.seconds)

    def _records(self) -> Iterator[Holder]:
        name = self._house.name
        for connection, borrower in self._house.out():
            yield record_of(name, borrower, lent=connection.since, connection=connection)
