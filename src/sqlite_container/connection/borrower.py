"""Who may use a connection now."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, current_thread
from typing import Any, Protocol

from ..threads.liveness import is_unwound, this_thread
from .origin import Call, Origin, caller, line_of


class Borrower(Protocol):
    """The one who has a connection: a thread for the length of a block, or a request.

    ``current`` and ``expected`` tell whether the code that runs now is where the connection was
    lent to, beside the thread: they agree there, and cost little to ask. ``current`` is None where
    the thread says it all.
    """

    thread: Thread
    streaming: bool  # whether it keeps its connections while a client reads

    current: Any  # called with None
    expected: Any  # called with nothing

    def may_use_it_here(self) -> bool:
        """Tell whether the code that runs now runs for this borrower, in whichever thread."""
        ...

    def gone(self) -> bool:
        """Tell whether nobody is left who could give the connection back."""
        ...

    def thread_is_over(self) -> bool:
        """Tell whether the thread that borrowed has ended."""
        ...

    @property
    def unwound(self) -> bool:
        """Whether its thread has left every block, because the process ends."""
        ...

    def describe(self) -> str | None:
        """Return what it borrows for, such as a request, in words."""
        ...

    @property
    def origin(self) -> Origin | None:
        """The line that asked for the connection, or the view that it was injected into."""
        ...

    def forget(self) -> None:
        """Forget, in a forked child, what was lent: it is the parent's."""
        ...


class ThreadBorrower:
    """A thread that has a connection for the length of a block.

    ``keeps`` is kept alive for as long as the loan lasts. ``block`` returns None when the block is
    over that has the connection: if an exception came before that had begun, nobody else will
    give the connection back.
    """

    __slots__ = ("_alive", "_block", "called_from", "keeps", "thread")

    streaming = False
    current: Any = None
    expected: Any = object

    def __init__(self, keeps: object, block: Callable[[], object]) -> None:
        life = this_thread.life
        self.keeps = keeps
        self.thread = life.thread
        self.called_from: Call | None = caller(4)
        self._alive = life.sign
        self._block = block

    def may_use_it_here(self) -> bool:
        """Tell whether the thread is the one that it was lent to."""
        return current_thread() is self.thread

    def gone(self) -> bool:
        """Tell whether its block is over, or its thread."""
        return self._block() is None or self.thread_is_over() or self.unwound

    def thread_is_over(self) -> bool:
        """Tell whether the thread that borrowed has ended."""
        return self._alive() is None

    @property
    def unwound(self) -> bool:
        """Whether its thread has left every block, because the process ends."""
        return is_unwound(self.thread)

    def describe(self) -> str | None:
        """Return nothing: a thread says enough."""
        return None

    @property
    def origin(self) -> Origin | None:
        """The line that asked for the connection."""
        return None if self.called_from is None else line_of(self.called_from)

    def forget(self) -> None:
        """Keep nothing that would have to be forgotten."""
