"""The pytest plugin of sqlite_container.

A module of its own, beside the package: pytest loads it in every run, also where nobody needs
the library, which is imported only when one of the fixtures is used.
"""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dependency_injector.containers import Container

__all__ = ["check_databases", "isolated_databases", "temporary_databases"]


@pytest.fixture
def temporary_databases(
    request: pytest.FixtureRequest, check_databases: None
) -> Iterator[Container]:
    """Fresh temporary databases for one test, in place of those of the project's container.

    The project has a fixture ``app`` (with ``init_app`` called) or ``container``. Gives the
    container.
    """
    from sqlite_container import testing

    container = _container(request)
    with testing.temporary_databases(container):
        yield container


@pytest.fixture
def isolated_databases(
    request: pytest.FixtureRequest, check_databases: None
) -> Iterator[Container]:
    """Copies of the databases for one test; what it writes is gone afterwards."""
    from sqlite_container import testing

    container = _container(request)
    with testing.isolated(container):
        yield container


def _container(request: pytest.FixtureRequest) -> Any:
    for name in ("container", "app"):
        with contextlib.suppress(pytest.FixtureLookupError):
            found = request.getfixturevalue(name)
            return getattr(found, "container", found)
    pytest.fail("temporary databases need a fixture 'app' or 'container' of the project", False)


@pytest.fixture
def check_databases() -> Iterator[None]:
    """Fail a test that leaves something open, and say where it was opened.

    That is: a connection that was not given back, an app context that was not popped, a
    connection of ``sqlite3`` that was not closed.
    """
    _watch_connections()
    before = {id(each) for each in _open_connections()}
    context = _current_context()
    yield
    left = [*_holders(), *_contexts(context), *_unclosed(before)]
    if left:
        pytest.fail("the test left open:\n" + "\n".join(left), pytrace=False)


def _holders() -> list[str]:
    from sqlite_container.database import live

    return [
        f"a connection of database {holder.database!r} that was not given back: {holder}"
        for database in list(live)
        for holder in database.holders()
    ]


def _current_context() -> object:
    from flask.globals import _cv_app

    return _cv_app.get(None)


def _contexts(before: object) -> list[str]:
    now = _current_context()
    return [] if now is None or now is before else [f"an app context that was pushed: {now!r}"]


def _unclosed(before: set[int]) -> list[str]:
    from sqlite_container import Connection

    gc.collect()
    return [
        f"an SQLite connection that was not closed: {_opened.get(id(each), 'opened elsewhere')}"
        for each in _open_connections()
        if id(each) not in before and not isinstance(each, Connection)
    ]


def _open_connections() -> list[sqlite3.Connection]:
    connections = [each for each in gc.get_objects() if isinstance(each, sqlite3.Connection)]
    return [each for each in connections if _is_open(each)]


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        sqlite3.Connection.in_transaction.__get__(connection)
    except sqlite3.ProgrammingError:
        return False
    return True


_opened: dict[int, str] = {}
_watching = False


def _watch_connections() -> None:
    """Remember where each connection is opened. An audit hook cannot be taken away again."""
    global _watching
    if not _watching:
        _watching = True
        sys.addaudithook(_note)


def _note(event: str, args: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect/handle":
        line = traceback.extract_stack(limit=2)[0]
        _opened[id(args[0])] = f"{line.filename}:{line.lineno} in {line.name}"
