"""Say what went wrong where nobody could be given an exception."""

from __future__ import annotations

import logging
import sys
import warnings
from types import TracebackType
from typing import NamedTuple

from .borrower import Origin

logger = logging.getLogger("sqlite_container")
logger.addHandler(logging.NullHandler())


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
