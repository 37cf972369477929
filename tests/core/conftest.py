"""Fixtures of the core's tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.helpers import Open
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
