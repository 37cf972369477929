"""The pytest plugin of sqlite_container.

A module of its own, beside the package: pytest loads it in every run, also where nobody needs
the library, which is imported only when one of the fixtures is used.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dependency_injector.containers import Container

__all__ = ["check_databases", "isolated_databases", "temporary_databases"]


@pytest.fixture
def temporary_databases(request: pytest.FixtureRequest) -> Iterator[Container]:
    """Fresh temporary databases for one test, in place of those of the project's container.

    The project has a fixture ``app`` (with ``init_app`` called) or ``container``. Gives the
    container. Fails the test for what ``check_databases`` looks for.
    """
    from sqlite_container import testing

    container = _container(request)
    with testing.temporary_databases(container), _checked():
        yield container


@pytest.fixture
def isolated_databases(request: pytest.FixtureRequest) -> Iterator[Container]:
    """Copies of the databases for one test; what it writes is gone afterwards."""
    from sqlite_container import testing

    container = _container(request)
    with testing.isolated(container), _checked():
        yield container


@pytest.fixture
def check_databases() -> Iterator[None]:
    """Fail a test that leaves something open, and say where it was opened.

    That is: a connection that was not given back, an app context that was not popped, a
    connection of ``sqlite3`` that was not closed.
    """
    with _checked():
        yield


def _container(request: pytest.FixtureRequest) -> Any:
    others = []
    for name in ("container", "app"):
        with contextlib.suppress(pytest.FixtureLookupError):
            found = request.getfixturevalue(name)
            found = getattr(found, "container", found)
            if hasattr(found, "traverse") and not isinstance(found, type):
                return found
            others.append(f"; fixture {name!r} gives {found!r}, which has no container")
    pytest.fail(_NO_CONTAINER + "".join(others), pytrace=False)


_NO_CONTAINER = (
    "temporary databases need a fixture of the project: 'app', with"
    " sqlite_container.flask.init_app(app, container) called, or 'container', an instance of one"
)


@contextlib.contextmanager
def _checked() -> Iterator[None]:
    from sqlite_container import testing

    context = _current_context()
    with _watched() as opened:
        yield
        if context is not None and context is _current_context():
            testing.give_back()
        left = [*_holders(), *_contexts(context), *_unclosed(opened)]
    if left:
        pytest.fail("the test left open:\n" + "\n".join(left), pytrace=False)


def _holders() -> list[str]:
    from sqlite_container.database.database import live

    return [
        f"a connection of database {holder.database!r} that was not given back: {holder}"
        f"{_STREAMED if holder.request else ''}"
        for database in list(live)
        for holder in database.holders()
    ]


_STREAMED = " (a response that is streamed keeps it until it was read or closed)"


def _current_context() -> object:
    from flask.globals import _cv_app

    return _cv_app.get(None)


def _contexts(before: object) -> list[str]:
    now = _current_context()
    return [] if now is None or now is before else [f"an app context that was pushed: {now!r}"]


def _unclosed(opened: list[tuple[sqlite3.Connection, str]]) -> list[str]:
    return [
        f"an SQLite connection that was not closed: {line}"
        for connection, line in opened
        if _is_open(connection)
    ]


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        sqlite3.Connection.in_transaction.__get__(connection)
    except sqlite3.ProgrammingError:
        return False
    return True


_watches: list[list[tuple[sqlite3.Connection, str]]] = []
_hooked = False


@contextlib.contextmanager
def _watched() -> Iterator[list[tuple[sqlite3.Connection, str]]]:
    """What others than this package open within, and where. An audit hook stays for ever."""
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_note)
    opened: list[tuple[sqlite3.Connection, str]] = []
    _watches.append(opened)
    try:
        yield opened
    finally:
        _watches.remove(opened)


def _note(event: str, args: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect/handle" and _watches:
        frame = sys._getframe(1)
        if frame.f_globals.get("__name__", "").partition(".")[0] != "sqlite_container":
            code = frame.f_code
            line = f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
            _watches[-1].append((args[0], line))
