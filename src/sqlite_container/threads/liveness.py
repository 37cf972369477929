"""Whether the thread that did something is still alive.

``Thread.is_alive()`` cannot be trusted with it: before Python 3.13, an exception amid the call
marks a living thread as stopped, and a thread that ``_thread`` has started never counts as dead.
What a thread keeps in a ``threading.local`` goes away with it, whatever started it and however
it ends: https://docs.python.org/3/library/threading.html#thread-local-data
"""

from __future__ import annotations

import threading
from typing import NamedTuple
from weakref import ref


class _Sign:
    """Lives as long as its thread."""

    __slots__ = ("__weakref__",)


class Life(NamedTuple):
    """A thread, and what returns None when it has ended."""

    thread: threading.Thread
    sign: ref[_Sign]


class _ThisThread(threading.local):
    """The thread that asks."""

    def __init__(self) -> None:
        self.sign = _Sign()
        self.life = Life(threading.current_thread(), ref(self.sign))


this_thread = _ThisThread()
_unwound: set[threading.Thread] = set()


def unwind() -> None:
    """Say, at the end of the process, that this thread has left all its code and only cleans up."""
    _unwound.add(threading.current_thread())


def is_unwound(thread: threading.Thread) -> bool:
    """Tell whether a thread has left every block, because the process ends."""
    return thread in _unwound
