"""Who holds a connection: the record of a loan, made when somebody asks for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from ..connection.borrower import Borrower
from ..connection.connection import Connection
from ..sqlite.statements import shorten


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a connection of ``database`` at this moment.

    ``reading`` tells for how many seconds it has had one transaction open, or a cursor that was
    not read to its end; None if it has neither. So long it keeps the write-ahead log from
    starting anew.
    """

    database: str
    thread: str
    request: str | None
    since: datetime
    seconds: float
    where: str | None
    read_only: bool
    statement: str | None
    reading: float | None = None

    def __str__(self) -> str:
        parts = [
            f"thread {self.thread!r}",
            self.request,
            f"for {self.seconds:.1f} s",
            self.where and f"from {self.where}",
            self.reading is not None and f"reading for {self.reading:.1f} s",
            self.statement and f"running {shorten(self.statement)!r}",
        ]
        return ", ".join(part for part in parts if part)


def record_of(
    database: str, borrower: Borrower, *, lent: float, connection: Connection | None = None
) -> Holder:
    """Make the record of a loan that began at the moment ``lent`` of ``monotonic()``.

    Without ``connection`` it tells nothing of it: it may be out to the next borrower by now.
    """
    now = monotonic()
    seconds = now - lent
    origin = borrower.origin
    running = connection.running if connection is not None else None
    reading = connection.reading_since() if connection is not None else None
    return Holder(
        database=database,
        thread=borrower.thread.name,
        request=borrower.describe(),
        since=datetime.fromtimestamp(time.time(), UTC) - timedelta(seconds=seconds),
        seconds=seconds,
        where=None if origin is None else "{}:{} in {}".format(*origin),
        read_only=connection is not None and connection.read_only,
        statement=running and running[0],
        reading=None if reading is None else now - reading,
    )
