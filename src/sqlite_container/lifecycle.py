"""The ends of a container: in order, whatever fails, and at the end of the process."""

from __future__ import annotations

import asyncio
import atexit
import inspect
from collections.abc import Callable, Iterable
from typing import Any
from weakref import ref

from dependency_injector import containers, providers

from . import report
from .providers import DatabaseProvider


def shutdown(container: containers.Container) -> None:
    """Close every resource of a container, dependents first, even if some fail.

    Blocks for as long as its databases' ``shutdown_timeout``, one after the other. Raises what
    failed as one :class:`ExceptionGroup`. Safe to call twice; afterwards the container can be
    initialised again.
    """
    failures: list[Exception] = []
    for resource in _in_order(_initialized(container)):
        try:
            _shut_down(resource)
        except Exception as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup("resources that could not be shut down", failures)


def shutdown_at_exit(container: containers.Container) -> None:
    """Have :func:`shutdown` called for this container when the interpreter ends.

    Containers are shut down newest first. A container that is garbage-collected before takes
    its connections with it. Safe to call twice.
    """
    if not _containers:
        atexit.register(_shut_down_all)
    _containers[id(container)] = ref(container, _forget(id(container)))


_containers: dict[int, ref[Any]] = {}


def _forget(key: int) -> Callable[[object], None]:
    return lambda _: _containers.pop(key, None) and None


def _shut_down_all() -> None:
    while _containers:
        _, reference = _containers.popitem()
        container = reference()
        if container is not None:
            _end(container)


def _end(container: containers.Container) -> None:
    for provider in databases(container):
        provider.refusal = "the process is ending"
    try:
        shutdown(container)
    except Exception:
        report.logger.exception("not everything could be shut down at the end of the process")


def databases(container: containers.Container) -> list[DatabaseProvider]:
    """Every database of a container, nested containers and overrides included."""
    return list(container.traverse(types=[DatabaseProvider]))


def _initialized(container: containers.Container) -> list[Any]:
    resources = container.traverse(types=[providers.BaseResource])
    return [resource for resource in resources if resource.initialized]


def _in_order(resources: list[Any]) -> Iterable[Any]:
    """Each resource before those that it was made of."""
    left = list(resources)
    while left:
        needed = {other for each in left for other in each.traverse() if other is not each}
        free = [each for each in left if each not in needed] or left
        yield from free
        left = [each for each in left if each not in free]


def _shut_down(resource: Any) -> None:
    result = resource.close() if isinstance(resource, DatabaseProvider) else resource.shutdown()
    if inspect.isawaitable(result):
        asyncio.run(_awaited(result))


async def _awaited(result: Any) -> None:
    await result
