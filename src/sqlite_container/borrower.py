"""Who holds a connection: what is noted when it is lent, and how that is told later."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import current_thread, get_ident
from time import monotonic
from typing import Protocol
from weakref import ref


class About(Protocol):
    """What a scope was opened for, such as a request; kept for reports, also when that ended."""

    def describe(self) -> str:
        """The request, in words."""
        ...

    def origin(self) -> Origin | None:
        """The function that a framework called."""
        ...


class Scope(Protocol):
    """What lends connections to everything that runs in it, such as a Flask app context."""

    @property
    def about(self) -> About | None:
        """What it was opened for, if that is known."""
        ...

    @property
    def streaming(self) -> bool:
        """Whether only the response's body is left to be sent."""
        ...

    def forget(self) -> None:
        """In a forked child: hold nothing any more."""
        ...


Origin = tuple[str, int, str]
"""File, line and function from which a connection was asked for."""

_OURS = (__name__.partition(".")[0], "dependency_injector", "contextlib")
_PLUMBING = ("flask", "werkzeug", "asyncio", "asgiref")


def caller() -> Origin | None:
    """The first line below this package and dependency-injector that is the user's own.

    None where a framework called: then the connection was injected, and the view is known.
    """
    frame = sys._getframe(1)
    while (package := _package(frame.f_globals.get("__name__", ""))) in _OURS:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    if package in _PLUMBING:
        return None
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


@lru_cache
def _package(module: str) -> str:
    return module.partition(".")[0]


def _nothing(*_: object) -> None:
    return None


class Borrower:
    """The one who may use a connection now: a thread, or what runs in one scope.

    ``current`` and ``expected`` tell whether the code that uses the connection runs in the
    borrower's context: they agree there, and cost little to ask. ``keeps`` is kept alive for
    as long as the loan lasts.
    """

    __slots__ = (
        "about",
        "called_from",
        "current",
        "expected",
        "keeps",
        "scope",
        "since",
        "thread",
        "told",
    )

    def __init__(
        self,
        keeps: object,
        scope: Scope | None = None,
        current: Callable[[None], object] = _nothing,
        expected: Callable[[], object] = _nothing,
    ) -> None:
        self.keeps = keeps
        self.scope = None if scope is None else ref(scope)
        self.current = current
        self.expected = expected
        self.thread = current_thread()
        self.about = None if scope is None else scope.about
        self.called_from = caller() if self.about is None else None
        self.since = monotonic()
        self.told = False

    def may_use_it_here(self) -> bool:
        """Whether the code that runs now runs for this borrower, in whichever thread."""
        if self.scope is None:
            return get_ident() == self.thread.ident
        scope = self.scope()
        if scope is not None and scope.streaming:
            return True  # some servers send the body from another thread
        return self.current(None) is self.expected()

    @property
    def origin(self) -> Origin | None:
        """The line that asked for the connection, or the view that it was injected into."""
        return self.called_from if self.about is None else self.about.origin()

    def gone(self) -> bool:
        """Whether nobody is left who could give the connection back."""
        if self.scope is None:
            return not self.thread.is_alive()
        return self.scope() is None


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


def holder(
    database: str,
    borrower: Borrower,
    *,
    read_only: bool,
    statement: str | None = None,
    reading_since: float | None = None,
) -> Holder:
    """The record of a borrower as it stands now."""
    now = monotonic()
    seconds = now - borrower.since
    origin = borrower.origin
    return Holder(
        database=database,
        thread=borrower.thread.name,
        request=None if borrower.about is None else borrower.about.describe(),
        since=datetime.fromtimestamp(time.time(), UTC) - timedelta(seconds=seconds),
        seconds=seconds,
        where=None if origin is None else "{}:{} in {}".format(*origin),
        read_only=read_only,
        statement=statement,
        reading=None if reading_since is None else now - reading_since,
    )


def shorten(sql: str, width: int = 80) -> str:
    """A statement on one line, cut where it gets long. Parameters are never part of it."""
    text = " ".join(sql.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"
