"""Fixtures of the tests of faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.helpers import opened
from sqlite_container import Connection, Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open database with the tables of the helpers."""
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    """A connection to it."""
    with database.connection() as db:
        yield db
