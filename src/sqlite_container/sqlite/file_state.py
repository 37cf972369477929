"""Whether a file is still as it was."""

from __future__ import annotations

import os
import time
from os import PathLike

_JUST_NOW = 2 * 10**9
"""Nanoseconds within which a file may change without a change of its times."""


def state_of(file: str | PathLike[str], *, metadata: bool = True) -> object:
    """What is another one when somebody has written to the file; None if there is none.

    Without ``metadata`` only the time of its content counts, not that of its owner and the like.
    """
    try:
        status = os.stat(file)
    except OSError:
        return None
    changed = max(status.st_mtime_ns, status.st_ctime_ns if metadata else 0)
    if abs(time.time_ns() - changed) < _JUST_NOW:
        return object()  # the next change may have the same time
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, changed
