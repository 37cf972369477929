"""Who holds a connection: what is noted when it is lent, and how that is told later."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Thread, current_thread
from time import monotonic
from types import CodeType
from weakref import ref

Origin = tuple[str, int, str]
"""File, line and function from which a connection was asked for."""
Call = tuple[CodeType, int]
"""A function, and how far it had come: quicker to note than its line, which few ask for."""

_OURS = (f"{__name__.partition('.')[0]}.", "dependency_injector.", "contextlib")
_PLUMBING = ("flask", "werkzeug", "asyncio", "asgiref")


def caller(depth: int) -> Call | None:
    """The first call below this package and dependency-injector that is the user's own.

    ``depth`` calls are ours for sure. None where a framework called: then the connection was
    injected, and the view is known.
    """
    frame = sys._getframe(depth)
    while (module := frame.f_globals.get("__name__", "")).startswith(_OURS):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    if module.partition(".")[0] in _PLUMBING:
        return None
    return frame.f_code, frame.f_lasti


def _origin(call: Call) -> Origin:
    code, position = call
    lines = (line for start, end, line in code.co_lines() if start <= position < end)
    return code.co_filename, next(lines, None) or code.co_firstlineno, code.co_name


_unwound: Thread | None = None


def unwind() -> None:
    """At the end of the process: this thread has left all its code, and only cleans up."""
    global _unwound
    _unwound = current_thread()


class Borrower:
    """The one who may use a connection now: a thread, for the length of a block.

    ``current`` and ``expected`` tell whether the code that uses the connection runs where it
    was lent to, beside the thread: they agree there, and cost little to ask. ``keeps`` is kept
    alive for as long as the loan lasts. ``block`` lives as long as the block that has the
    connection: if an exception came before that had begun, nobody else will give it back.
    """

    __slots__ = ("_block", "called_from", "keeps", "thread")

    current: Callable[[None], object] = dict[None, object]().get
    expected: Callable[[], object] = type(None)

    def __init__(self, keeps: object, block: object = None) -> None:
        self.keeps = keeps
        self.thread = current_thread()
        self.called_from = caller(3)
        self._block = None if block is None else ref(block)

    def may_use_it_here(self) -> bool:
        """Whether the code that runs now runs for this borrower, in whichever thread."""
        return current_thread() is self.thread

    def gone(self) -> bool:
        """Whether nobody is left who could give the connection back."""
        is_over = self._block is not None and self._block() is None
        return is_over or self.unwound or not self.thread.is_alive()

    @property
    def unwound(self) -> bool:
        """Whether its thread has left every block, because the process ends."""
        return self.thread is _unwound

    def describe(self) -> str | None:
        """What it borrows for, such as a request, in words."""
        return None

    @property
    def origin(self) -> Origin | None:
        """The line that asked for the connection, or the view that it was injected into."""
        return None if self.called_from is None else _origin(self.called_from)

    def forget(self) -> None:
        """In a forked child: what was lent is the parent's."""


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
    lent: float,
    read_only: bool,
    statement: str | None = None,
    reading_since: float | None = None,
) -> Holder:
    """The record of a loan as it stands now; the moments are those of ``monotonic()``."""
    now = monotonic()
    seconds = now - lent
    origin = borrower.origin
    return Holder(
        database=database,
        thread=borrower.thread.name,
        request=borrower.describe(),
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
