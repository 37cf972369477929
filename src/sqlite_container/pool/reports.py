"""Say what went wrong where nobody could be given an exception."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple

from ..connection.borrower import Borrower, Holder, Origin
from ..errors import LeakWarning, UncommittedWarning

logger = logging.getLogger("sqlite_container")
logger.addHandler(logging.NullHandler())


@contextmanager
def logged(message: str, *args: object) -> Iterator[None]:
    """Log what fails in this block, and go on after it."""
    try:
        yield
    except Exception:
        logger.exception(message, *args)


class _Unraisable(NamedTuple):
    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: TracebackType | None
    err_msg: str | None
    object: object


def warn(message: str, category: type[Warning], origin: Origin | None) -> None:
    """Warn and log; never raise.

    The developer sees the warning, production has the log record. Where warnings are errors,
    the error goes to :func:`sys.unraisablehook`: callers stand in a teardown, where an
    exception would keep the next database from being cleaned up. The interpreter treats its
    own ``ResourceWarning`` in the same way.
    """
    filename, line, _ = origin or (__file__, 1, "")
    logger.warning(message)
    try:
        # No registry: each message is new, and a registry would keep them all.
        warnings.warn_explicit(message, category, filename, line, registry={})
    except Warning as error:
        args = (type(error), error, error.__traceback__, None, None)
        sys.unraisablehook(_Unraisable(*args))  # type: ignore[arg-type]


def leak(place: str, borrower: Borrower, record: Holder, what: str) -> None:
    """A connection is out for too long, or will not be given back."""
    warn(f"{place}: a connection {what}: {record}", LeakWarning, borrower.origin)


def uncommitted(place: str, borrower: Borrower, record: Holder) -> None:
    """A transaction was open when its connection was given back."""
    message = (
        f"{place}: a transaction was open when its connection went back, and was rolled back;"
        f" commit it, or write in a 'with db:' block: {record}"
    )
    warn(message, UncommittedWarning, borrower.origin)
