"""Where a connection was asked for: the first line that is neither ours nor a framework's."""

from __future__ import annotations

import sys
from types import CodeType

Origin = tuple[str, int, str]
"""File, line and function from which a connection was asked for."""
Call = tuple[CodeType, int]
"""A function, and how far it had come: quicker to note than its line, which few ask for."""

_OURS = (f"{__name__.partition('.')[0]}.", "dependency_injector.", "contextlib")
frameworks = {"asyncio"}
"""Packages that call views: who was called by them was injected, and the view is known."""


def caller(depth: int) -> Call | None:
    """Return the first call below this package and dependency-injector that is the user's own.

    ``depth`` calls are ours for sure. None where a framework called.
    """
    frame = sys._getframe(depth)
    if frame.f_code in _users:
        return frame.f_code, frame.f_lasti
    while (module := frame.f_globals.get("__name__", "")).startswith(_OURS):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    if module.partition(".")[0] in frameworks:
        return None
    if len(_users) < _MANY:
        _users.add(frame.f_code)
    return frame.f_code, frame.f_lasti


_users: set[CodeType] = set()
"""Functions of users that have asked before."""
_MANY = 1000


def line_of(call: Call) -> Origin:
    """Return the line that a call stands on."""
    code, position = call
    lines = (line for start, end, line in code.co_lines() if start <= position < end)
    return code.co_filename, next(lines, None) or code.co_firstlineno, code.co_name
