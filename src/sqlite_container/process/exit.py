"""The end of the process: every container that asked for it is shut down."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import ref

from dependency_injector import containers

from ..container.checks import check_container
from ..container.providers import see_through
from ..container.shutdown import databases, shutdown
from ..errors import DatabaseClosed, StatementInterrupted
from ..log import logged
from ..threads.liveness import unwind
from . import fork
from .os_signals import endings, handle_signals, ignore_signals


def shutdown_at_exit(container: containers.Container, *, signals: bool = True) -> None:
    """Have :func:`shutdown` called for this container when the process ends.

    That is at the end of the interpreter, newest container first, and also on SIGTERM and
    SIGHUP where their default action is in place, unless ``signals`` is False. A container that
    is garbage-collected before takes its connections with it. Safe to call twice.
    """
    check_container(container, "shutdown_at_exit")
    see_through(container)
    _take_part_in_exit()
    _exit.containers[id(container)] = ref(container, _forget(id(container)))
    if signals:
        handle_signals()


class _Exit:
    """What this process does at its end; ``prepared`` once, atexit forgets nothing."""

    def __init__(self) -> None:
        self.containers: dict[int, ref[Any]] = {}
        self.prepared = False


_exit = _Exit()


def _take_part_in_exit() -> None:
    if not _exit.prepared:
        _exit.prepared = True
        for _ in range(2):  # a signal at its first line would end one of them, not both
            atexit.register(_shut_down_all)
        if _is_multiprocessing_child():
            _finalize_with(_shut_down_all)


def _forget(key: int) -> Callable[[object], None]:
    def forget(dead: object) -> None:
        if _exit.containers.get(key) is dead:
            del _exit.containers[key]

    return forget


def _end_with_multiprocessing() -> None:
    """In a forked child: multiprocessing ends its children without atexit, but has hooks too."""
    _exit.prepared = False  # it clears atexit as well
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(_shut_down_all, _finalize_with)


def _is_multiprocessing_child() -> bool:
    """Before Python 3.13 such a process, a worker of granian's for one, ends without atexit."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _finalize_with(function: Callable[[], None]) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, function, exitpriority=0)


fork.prepare()
os.register_at_fork(after_in_child=_end_with_multiprocessing)


def _shut_down_all() -> None:
    with suppress(SystemExit, KeyboardInterrupt):  # of a signal that came a moment before
        ignore_signals()
    ignore_signals()
    unwind()
    if _exit.containers:
        _expect_nothing_of_daemons()
    while _exit.containers:
        _, reference = _exit.containers.popitem()
        container = reference()
        if container is not None:
            _end(container)


endings.add(_shut_down_all.__code__)


def _expect_nothing_of_daemons() -> None:
    """Let nobody report, or half report, that daemon threads find their databases closed.

    They are left behind in the middle of what they do, and so is what would be printed of them.
    """
    threading.excepthook = partial(_report_unless_left_behind, threading.excepthook)


def _report_unless_left_behind(
    report: Callable[[Any], object], args: threading.ExceptHookArgs
) -> None:
    is_left_behind = args.thread is not None and args.thread.daemon
    if not (is_left_behind and issubclass(args.exc_type, _OF_A_CLOSED_DATABASE)):
        report(args)


_OF_A_CLOSED_DATABASE = (DatabaseClosed, StatementInterrupted)


def _end(container: containers.Container) -> None:
    for provider in databases(container):
        provider.refusal = "the process is ending"
    with logged("not everything could be shut down at the end of the process"):
        shutdown(container)
