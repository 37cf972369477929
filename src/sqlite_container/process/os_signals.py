"""SIGTERM and SIGHUP as an ordinary end, where nobody else has decided what they mean."""

from __future__ import annotations

import signal
import sys
import threading
from types import CodeType, FrameType

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
endings: set[CodeType] = set()
"""The functions that end the process: at their first line a signal has nothing to add."""


def handle_signals() -> None:
    """Have the interpreter end in order when the process is told to.

    Only in the main thread, only where the default action, instant death, is still in place,
    and not under uWSGI, which handles signals where Python does not see it. The exit status is
    the one that a shell expects: 143 for SIGTERM, 129 for SIGHUP. Safe to call twice.
    """
    if threading.current_thread() is not threading.main_thread() or "uwsgi" in sys.modules:
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    if frame is None or frame.f_code not in endings:
        sys.exit(128 + number)


def ignore_signals() -> None:
    """While everything is being closed, let no second signal leave it half done."""
    if threading.current_thread() is threading.main_thread() and "uwsgi" not in sys.modules:
        for number in (signal.SIGINT, *_SIGNALS):
            signal.signal(number, signal.SIG_IGN)
