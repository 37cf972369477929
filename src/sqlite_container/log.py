"""The package's log, for what goes wrong where nobody could be given an exception."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("sqlite_container")
logger.addHandler(logging.NullHandler())

Place = tuple[str, int, str]
"""File, line and function that a warning is about."""


@contextmanager
def logged(message: str, *args: object) -> Iterator[None]:
    """Log what fails in this block, and go on after it."""
    try:
        yield
    except Exception:
        logger.exception(message, *args)


class _Reporter:
    """Raises a warning that is an error from ``__del__``, which hands it to the interpreter.

    ``sys.unraisablehook`` takes only what the interpreter itself makes:
    https://docs.python.org/3/library/sys.html#sys.unraisablehook
    """

    def __init__(self, warning: Warning) -> None:
        self._warning = warning

    def __del__(self) -> None:
        raise self._warning


def warn(message: str, category: type[Warning], place: Place | None) -> None:
    """Warn and log; never raise.

    The developer sees the warning, production has the log record. Where warnings are errors,
    the error goes to :func:`sys.unraisablehook`: callers stand in a teardown, where an
    exception would keep the next database from being cleaned up. The interpreter treats its
    own ``ResourceWarning`` in the same way.
    """
    filename, line, _ = place or (__file__, 1, "")
    logger.warning(message)
    try:
        # No registry: each message is new, and a registry would keep them all.
        warnings.warn_explicit(message, category, filename, line, registry={})
    except Warning as error:
        _hand_to_the_interpreter(error)


def _hand_to_the_interpreter(error: Warning) -> None:
    reporter = _Reporter(error)
    del reporter


def on_one_line(text: str) -> str:
    """Escape what would begin a new line in a log, or control a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
