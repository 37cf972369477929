"""Close every resource of a container, in order, whatever fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from dependency_injector import containers, providers

from ..database.database import close_together
from .checks import check_container
from .providers import DatabaseProvider


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
