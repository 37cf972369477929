"""What a `Database` says of itself, and to those who take it for a connection."""

from __future__ import annotations

import inspect
import re
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from common.databases import Open
from sqlite_container import Database, DatabaseClosed

API = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.parametrize("name", ["execute", "executemany", "commit", "cursor", "row_factory"])
def test_a_database_is_no_connection(database: Any, name: str) -> None:
    """What connections have is answered with how to get one."""
    with pytest.raises(AttributeError, match=r"with database\.connection\(\) as db:") as caught:
        getattr(database, name)
    assert f"db.{name}" in str(caught.value)
    assert not hasattr(database, name)


@pytest.mark.parametrize("name", ["exceute", "_pol", "__len__"])
def test_what_nobody_has_is_an_attribute_error(database: Any, name: str) -> None:
    """As for any other object, with Python's own suggestion."""
    with pytest.raises(AttributeError, match=f"'Database' object has no attribute '{name}'") as e:
        getattr(database, name)
    assert (e.value.name, e.value.obj) == (name, database)


def test_a_block_of_a_database_is_told_what_to_lend(database: Any) -> None:
    """`with database as db:` names the three ways."""
    with pytest.raises(TypeError) as caught, database:
        pass
    with pytest.raises(TypeError, match="lends connections"), ExitStack() as stack:
        stack.enter_context(database)
    for lend in ("connection", "reader", "transaction"):
        assert f"database.{lend}()" in str(caught.value)


def test_a_closed_database_says_how_to_open_it_again(open_database: Open) -> None:
    """Whoever has opened it by hand opens it again by hand."""
    with pytest.raises(DatabaseClosed, match=r"'new' is not open yet: database\.open\(…\) opens"):
        Database("new").stats()
    database = open_database()
    database.close()
    with pytest.raises(DatabaseClosed, match=r"'notes' is closed; database\.open\(…\) opens it"):
        database.stats()


# -- file ------------------------------------------------------------------------------


def test_the_file_has_its_whole_path(
    open_database: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays the same wherever the program goes, and when the database is closed."""
    monkeypatch.chdir(path.parent)
    database = Database("here")
    database.open("here.db")
    monkeypatch.chdir("/")
    assert database.file == path.parent / "here.db"
    database.close()
    assert database.file == path.parent / "here.db"
    assert open_database(path=":memory:").file is None


def test_a_database_that_was_never_open_has_no_file() -> None:
    """Nobody knows which it will be."""
    with pytest.raises(DatabaseClosed, match="not open yet"):
        _ = Database("new").file


# -- what is shown ---------------------------------------------------------------------


def documented() -> set[str]:
    """The members of `Database` in the API reference."""
    found = re.search(r"autoclass:: sqlite_container\.Database\n   :members: (.*)", API.read_text())
    assert found
    return set(found[1].split(", "))


def test_dir_lists_what_is_for_users(database: Database) -> None:
    """The class and the object list what the API reference has; an object has a name as well."""
    for each in (Database, database):
        names = {name for name in dir(each) if not name.startswith("__")}
        assert names - {"name"} == documented()
    assert "name" in dir(database)
    assert {"__init__", "__doc__", "__repr__"} <= set(dir(Database))
    members = {name for name, _ in inspect.getmembers(Database) if not name.startswith("_")}
    assert members == documented()


def test_what_is_shown_tells_a_state(database: Database) -> None:
    """A loan, a transaction and a connection say whose they are, and whether they are in use."""
    assert repr(database.reader()) == f"<reader of {database!r}, for a with block>"
    assert "<transaction of <Database 'notes'" in repr(database.transaction())
    with database.connection() as db:
        assert repr(db) == "<connection of database 'notes', held by MainThread>"
        assert repr(db.transaction()) == f"<transaction on {db!r}, for a with block>"
    assert repr(db) == "<connection of database 'notes', idle>"
    database.close()
    assert repr(db) == "<connection of database 'notes', closed>"
    assert isinstance(db, sqlite3.Connection)
