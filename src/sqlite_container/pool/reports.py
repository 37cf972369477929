"""Say of a loan what its borrower was not told."""

from __future__ import annotations

from ..connection.borrower import Borrower
from ..errors import LeakWarning, UncommittedWarning
from ..log import on_one_line, warn
from .holders import Holder


def leak(place: str, borrower: Borrower, record: Holder, what: str) -> None:
    """Report that a connection is out for too long, or will not be given back."""
    message = f"{place}: a connection {what}: {record}"
    warn(on_one_line(message), LeakWarning, borrower.origin)


def uncommitted(place: str, borrower: Borrower, record: Holder) -> None:
    """Report that a transaction was open when its connection was given back."""
    message = (
        f"{place}: a transaction was open when its connection went back, and was rolled back;"
        f" commit it, or write in a 'with db:' block: {record}"
    )
    warn(on_one_line(message), UncommittedWarning, borrower.origin)
