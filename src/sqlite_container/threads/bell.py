"""One thread waits, another one wakes it."""

from __future__ import annotations

import threading
from contextlib import suppress


class Bell:
    """Rung once, it wakes the one thread that waits for it, now or later.

    A lock does the work, since waiting for one can end at any moment without harm: by a
    time-out, or by an exception that a signal handler raises.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float) -> bool:
        """Block for at most ``timeout`` seconds; tell whether it was rung."""
        return self._lock.acquire(timeout=max(0.0, timeout))

    def ring(self) -> None:
        """Wake who waits. Safe to call twice, and from several threads."""
        with suppress(RuntimeError):  # it was rung already, and nobody has woken yet
            self._lock.release()
