"""The fixtures that several folders of tests share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import wiring

from common.databases import Open
from common.shop import MakeApp, factory
from sqlite_container import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database may be."""
    return tmp_path / "notes.db"


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    """A schema file, beside the folder of the databases."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    file = folder / "schema.sql"
    file.write_text("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body BLOB);\n")
    return file


@pytest.fixture
def open_database(path: Path, schema: Path) -> Iterator[Open]:
    """Opens databases with a table of notes, and closes them after the test."""
    with ExitStack() as stack:

        def open_one(**settings: object) -> Database:
            name = settings.pop("name", "notes")
            assert isinstance(name, str)
            database = Database(name)
            database.open({"path": str(path), "schema": str(schema), **settings})
            stack.callback(database.close, 1)
            return database

        yield open_one


@pytest.fixture
def database(open_database: Open) -> Database:
    """An open database with a table of notes."""
    return open_database()


@pytest.fixture
def make_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeApp]:
    """Make apps that are wired to the test's module and to the shared views."""
    import common.views  # its views are wired too

    with factory(tmp_path, request.module.__name__, common.views.__name__) as make:
        yield make


@pytest.fixture
def forget_functions() -> Iterator[None]:
    """Forget the functions of each test, which dependency-injector's registry keeps for ever."""
    registry: Any = wiring._patched_registry
    before = dict(registry._callables)
    yield
    registry._callables.clear()
    registry._callables.update(before)
