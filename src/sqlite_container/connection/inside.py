"""Who is inside SQLite through a connection.

Every way into SQLite's code sets the connection's ``running`` to a mark before, and back after
it, in line and without a call in between: an exception of a signal handler can come only at a
call, at a jump back, or at the beginning of a function. Nothing of a connection is finished,
closed or lent on while it has a mark.
"""

from __future__ import annotations

import sys
from threading import get_ident
from types import CodeType, FrameType
from typing import Any

Mark = tuple[str, float, int, Any]
"""The statement, since when it runs, in which thread, and the mark that was there before."""

entrances: set[CodeType] = set()
"""The functions that set a mark, and set it back in the end."""


def is_stale(mark: Mark) -> bool:
    """Tell whether a mark was left behind: none of its thread's calls stands for it."""
    frame: FrameType | None
    if mark[2] == get_ident():
        frame = sys._getframe(1)
    else:
        frame = sys._current_frames().get(mark[2])
        if frame is None:
            return False  # of a thread that has ended, or of a greenlet: nobody can tell
    while frame is not None and frame.f_code not in entrances:
        frame = frame.f_back
    return frame is None
