"""Tell whether a file is still as it was when it was looked at before."""

from __future__ import annotations

import os
import time
from os import PathLike

_JUST_NOW = 2 * 10**9
"""Nanoseconds within which a file may change again without a change of its times."""


def state_of(file: str | PathLike[str], *, metadata: bool = True) -> object:
    """Return a value that differs after somebody has written to the file; None if there is no file.

    Without ``metadata`` a change of its owner or rights does not count.
    """
    try:
        status = os.stat(file)
    except OSError:
        return None
    changed = max(status.st_mtime_ns, status.st_ctime_ns if metadata else 0)
    if abs(time.time_ns() - changed) < _JUST_NOW:
        return object()  # the next change may have the same time
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, changed
