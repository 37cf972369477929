"""Werkzeug's reloader: its watcher kills its child, which is given the time to end before.

Whatever ends the watcher, ``subprocess.call`` has its child killed at once, or 0.25 s after
Ctrl-C. Python announces each ``os.kill`` to its audit hooks: there the child is told to end,
and waited for. By the time it is killed, it is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from time import monotonic, sleep
from typing import Any

from ..pool.closing import limits

HEAD_START = 0.3
"""Seconds to wait before the child is told: often it was told already, as the watcher was."""
PATIENCE = 2.0
"""Seconds that a child may take: closing its databases is limited to one under the reloader."""


def install() -> None:
    """Let a watcher give its child time to end, and the child end in time. Safe to call twice."""
    if os.environ.get("WERKZEUG_RUN_MAIN") == "true":
        limits.hurry()
    elif hasattr(os, "waitid") and _may_watch():
        _add_hook()


@cache
def _add_hook() -> None:
    """Once for each process: an audit hook stays for ever."""
    sys.addaudithook(_let_child_end)


def _may_watch() -> bool:
    """Tell whether this process may become a watcher: no production server, no test run."""
    others = ("granian", "gunicorn", "pytest", "uwsgi", "waitress")
    return not any(other in sys.modules for other in others)


def _let_child_end(event: str, args: tuple[Any, ...]) -> None:
    if event == "os.kill" and args[1] == signal.SIGKILL and _is_watcher():
        pid = args[0]
        if not _gone(pid, HEAD_START):
            os.kill(pid, signal.SIGTERM)
            _gone(pid, PATIENCE)


def _is_watcher() -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code is not subprocess.call.__code__:
        frame = frame.f_back
    return frame is not None and frame.f_back.f_globals.get("__name__") == "werkzeug._reloader"


def _gone(pid: int, seconds: float) -> bool:
    """Wait for its end, but leave the exit status to ``subprocess``."""
    deadline = monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if monotonic() >= deadline:
            return False
        sleep(0.01)
    return True
