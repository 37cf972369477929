"""The ends of a container: in order, whatever fails, and at the end of the process."""

from __future__ import annotations

import atexit
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import ref

from dependency_injector import containers, providers

from ..connection.borrower import unwind
from ..container.checks import check_container
from ..container.providers import DatabaseProvider, see_through
from ..database.database import close_together
from ..pool import reports as report
from . import fork
from .os_signals import handle_signals, ignore_signals


def shutdown(container: containers.Container) -> None:
    """Close every resource of a container, dependents first, even if some fail.

    Its databases close at the same time; that blocks for at most about the longest of their
    ``shutdown_timeout``. Raises what failed as one :class:`ExceptionGroup`. Safe to call
    twice; afterwards the container can be initialised again.
    """
    check_container(container, "shutdown")
    failures: list[Exception] = []
    for step in _steps(_initialized(container)):
        try:
            step()
        except ExceptionGroup as group:
            failures.extend(group.exceptions)
        except Exception as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup("resources that could not be shut down", failures)


def shutdown_at_exit(container: containers.Container, *, signals: bool = True) -> None:
    """Have :func:`shutdown` called for this container when the process ends.

    That is at the end of the interpreter, newest container first, and also on SIGTERM and
    SIGHUP where their default action is in place (see :mod:`sqlite_container.signals`), unless
    ``signals`` is False. A container that is garbage-collected before takes its connections
    with it. Safe to call twice.
    """
    check_container(container, "shutdown_at_exit")
    see_through(container)
    _take_part_in_exit()
    _containers[id(container)] = ref(container, _forget(id(container)))
    if signals:
        handle_signals()


_containers: dict[int, ref[Any]] = {}
_takes_part = False


def _take_part_in_exit() -> None:
    """Once for each process: atexit keeps the place of what is unregistered."""
    global _takes_part
    if not _takes_part:
        _takes_part = True
        for _ in range(2):  # a signal at its first line would end one of them, not both
            atexit.register(_shut_down_all)
        if _is_multiprocessing_child():
            _finalize_with(_shut_down_all)


def _forget(key: int) -> Callable[[object], None]:
    def forget(dead: object) -> None:
        if _containers.get(key) is dead:
            del _containers[key]

    return forget


def _end_with_multiprocessing() -> None:
    """In a forked child: multiprocessing ends its children without atexit, but has hooks too."""
    global _takes_part
    _takes_part = False  # it clears atexit as well
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
    while _containers:
        _, reference = _containers.popitem()
        container = reference()
        if container is not None:
            _end(container)


def _end(container: containers.Container) -> None:
    for provider in databases(container):
        provider.refusal = "the process is ending"
    with report.logged("not everything could be shut down at the end of the process"):
        shutdown(container)


def databases(container: containers.Container) -> list[DatabaseProvider]:
    """Every database of a container, nested containers and overrides included."""
    return list(container.traverse(types=[DatabaseProvider]))


def _initialized(container: containers.Container) -> list[Any]:
    resources = container.traverse(types=[providers.BaseResource])
    return [resource for resource in resources if resource.initialized]


def _steps(resources: list[Any]) -> Iterator[Callable[[], None]]:
    """What is to be done, in order: the databases in the middle, all of them in one step."""
    needed_by = {each: set(each.traverse()) for each in resources}
    stores = [each for each in resources if isinstance(each, DatabaseProvider)]
    below = {each for each in resources if any(each in needed_by[store] for store in stores)}
    others = [each for each in resources if each not in stores]
    yield from _one_by_one([each for each in others if each not in below], needed_by)
    yield lambda: close_together(store.current for store in stores)
    yield from _one_by_one([each for each in others if each in below], needed_by)


def _one_by_one(
    resources: list[Any], needed_by: dict[Any, set[Any]]
) -> Iterator[Callable[[], None]]:
    left = list(resources)
    while left:
        free = [one for one in left if not any(one in needed_by[other] for other in left)] or left
        yield from (partial(_shut_down, one) for one in free)
        left = [one for one in left if one not in free]


def _shut_down(resource: Any) -> None:
    result = resource.shutdown()
    if inspect.isawaitable(result):
        import asyncio

        asyncio.run(_awaited(result))


async def _awaited(result: Any) -> None:
    await result
