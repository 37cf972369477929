"""Databases of a test run: temporary, isolated, overridden, and checked."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers

from sqlite_container import Connection, Database, SQLite, SQLiteDict, shutdown
from sqlite_container.testing import isolated, temporary_databases

pytest_plugins = ["pytester"]


class Service:
    def __init__(self, database: Database) -> None:
        self.database = database


class Shop(containers.DeclarativeContainer):
    config = providers.Configuration(strict=True)
    notes = SQLite(config.databases.notes)
    words = SQLite(config.databases.words)
    cache = SQLite(config.databases.cache)
    tenants = SQLiteDict(config.tenants)
    service = providers.Singleton(Service, notes.database)


def make(folder: Path) -> Any:
    container = Shop()
    container.config.from_dict(
        {
            "databases": {
                "notes": {"path": str(folder / "notes.db"), "schema": str(folder / "notes.sql")},
                "words": {"path": str(folder / "words.db"), "mode": "ro"},
                "cache": ":memory:",
            },
            "tenants": {
                "acme": {
                    "path": str(folder / "{name}.db"),
                    "schema": str(folder / "notes.sql"),
                }
            },
        }
    )
    return container


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Any]:
    """A container with one row in each of its real databases."""
    (tmp_path / "notes.sql").write_text("CREATE TABLE note (title TEXT);")
    words = sqlite3.connect(tmp_path / "words.db")
    words.executescript("CREATE TABLE word (word TEXT); INSERT INTO word VALUES ('calm');")
    words.close()
    container = make(tmp_path)
    add(container.notes.database())
    add(container.tenants["acme"].database())
    yield container
    shutdown(container)


def add(database: Database) -> None:
    with database.transaction() as db:
        db.execute("INSERT INTO note VALUES ('x')")


def count(database: Database, table: str = "note") -> int:
    with database.reader() as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.db*"))}


def test_each_database_is_fresh_and_the_real_ones_are_untouched(shop: Any, tmp_path: Path) -> None:
    """Whoever writes within the block writes to files that are gone afterwards."""
    shutdown(shop)
    before = content(tmp_path)
    with temporary_databases(shop):
        for database in (shop.notes.database(), shop.tenants["acme"].database()):
            assert count(database) == 0
            add(database)
            assert count(database) == 1
        assert count(shop.words.database(), "word") == 1
    assert content(tmp_path) == before
    assert count(shop.notes.database()) == 1
    assert count(shop.words.database(), "word") == 1


def test_an_open_database_and_whoever_holds_it_are_moved(shop: Any) -> None:
    """A Singleton that got the Database before, a thread, another container: all are moved."""
    service = shop.service()
    with temporary_databases(shop):
        add(service.database)
        thread = threading.Thread(target=add, args=(service.database,))
        thread.start()
        thread.join()
        assert count(shop.notes.database()) == 2
    assert count(service.database) == 1
    with temporary_databases(shop):
        assert count(service.database) == 0


def test_another_container_on_the_same_files_is_moved(shop: Any, tmp_path: Path) -> None:
    """A second app that is created within a test does not reach the real files."""
    earlier = make(tmp_path)
    assert count(earlier.notes.database()) == 1
    with temporary_databases(shop):
        later = make(tmp_path)
        add(later.notes.database())
        add(earlier.notes.database())
        assert count(shop.notes.database()) == 2
    assert count(earlier.notes.database()) == count(later.notes.database()) == 1
    shutdown(earlier)
    shutdown(later)


def test_data_can_be_kept(shop: Any) -> None:
    """With keep_data the temporary database begins with a copy of the rows."""
    with temporary_databases(shop, keep_data=True):
        add(shop.notes.database())
        assert count(shop.notes.database()) == 2
    assert count(shop.notes.database()) == 1


def test_only_some_can_be_meant(shop: Any) -> None:
    """The databases that are not named stay the real ones."""
    with temporary_databases(shop, only=["tenants"]):
        assert count(shop.tenants["acme"].database()) == 0
        assert count(shop.notes.database()) == 1


def test_a_memory_database_is_fresh_too(shop: Any) -> None:
    """An in-memory database is another one within the block, and the old one afterwards."""
    with shop.cache.database().connection() as db:
        db.execute("CREATE TABLE old (id)")
    with temporary_databases(shop):
        assert count(shop.cache.database(), "sqlite_schema") == 0
    assert count(shop.cache.database(), "sqlite_schema") == 1


def test_blocks_can_be_nested(shop: Any) -> None:
    """A suite fills temporary databases once; each test works on a copy of them."""
    with temporary_databases(shop):
        add(shop.notes.database())
        for _ in range(3):
            with isolated(shop):
                add(shop.notes.database())
                assert count(shop.notes.database()) == 2
        assert count(shop.notes.database()) == 1
        add(shop.notes.database())
        with isolated(shop):
            assert count(shop.notes.database()) == 2
    assert count(shop.notes.database()) == 1


def test_an_error_in_the_block_puts_everything_back(shop: Any) -> None:
    """However the block ends, everything is as before."""
    with pytest.raises(sqlite3.OperationalError), temporary_databases(shop):
        count(shop.notes.database(), "missing")
    assert count(shop.notes.database()) == 1


def test_a_connection_that_is_out_is_named(shop: Any) -> None:
    """A connection to a real file must not be in use when the block begins."""
    with (
        shop.notes.database().connection(),
        pytest.raises(RuntimeError, match=r"'notes'.*test_temporary"),
        temporary_databases(shop),
    ):
        pytest.fail("it began")
    with temporary_databases(shop):
        assert count(shop.notes.database()) == 0


def test_a_thousand_tests_are_quick(shop: Any, tmp_path: Path) -> None:
    """A fresh database is copied, not made anew: its schema runs once, however many there are."""
    tables = "".join(f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, v);" for i in range(50))
    (tmp_path / "notes.sql").write_text("CREATE TABLE note (title TEXT);" + tables)
    began = time.monotonic()
    for _ in range(100):
        with temporary_databases(shop):
            assert count(shop.notes.database()) == 0
    assert time.monotonic() - began < 60  # a hang, not a figure


def test_what_an_override_opened_is_closed_when_it_ends(shop: Any, tmp_path: Path) -> None:
    """A whole SQLite, and a SQLiteDict, can be overridden, and leave nothing open."""
    shutdown(shop)
    shutil.copy(tmp_path / "notes.db", tmp_path / "other.db")
    other = SQLite(str(tmp_path / "other.db"))
    with shop.notes.override(other):
        add(shop.notes.database())
        assert shop.notes.database() is other.database()
    assert other.database.current.closed
    assert count(shop.notes.database()) == 1
    many = SQLiteDict({"acme": str(tmp_path / "other.db"), "zoo": str(tmp_path / "zoo.db")})
    with shop.tenants.override(many):
        assert shop.tenants.names() == ["acme", "zoo"]
        add(shop.tenants["acme"].database())
    assert many["acme"].database.current.closed
    assert shop.tenants.names() == ["acme"]
    assert count(shop.tenants["acme"].database()) == 1


def test_a_fake_connection_is_left_alone(shop: Any) -> None:
    """An override that is no provider of ours goes to whoever asks, and the pool ignores it."""
    fake = object()
    with shop.notes.connection.override(providers.Object(fake)):
        assert shop.notes.connection() is fake
    assert not isinstance(fake, Connection)


PROJECT = """
    import sqlite3, pytest
    from dependency_injector import containers
    from sqlite_container import SQLite, shutdown

    class Shop(containers.DeclarativeContainer):
        notes = SQLite("notes.db")

    @pytest.fixture
    def container():
        container = Shop()
        yield container
        shutdown(container)
"""


def run(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    pytester.makeconftest(PROJECT)
    pytester.makepyfile(test)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_the_plugin_gives_fresh_databases(pytester: pytest.Pytester) -> None:
    """Two tests with the fixture find an empty database each, and no file is made."""
    result = run(
        pytester,
        """
        import pytest
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(n, temporary_databases):
            with temporary_databases.notes.database().transaction() as db:
                db.execute("CREATE TABLE t (i)")
        """,
    )
    result.assert_outcomes(passed=2)
    assert not (pytester.path / "notes.db").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "kept = temporary_databases.notes.database().connection(); kept.__enter__()",
            "not given back*test_*py*",
        ),
        ("import sqlite3; kept = sqlite3.connect(':memory:')", "not closed: *test_*py*"),
        (
            "import flask; context = flask.Flask('x').app_context(); context.push()",
            "app context that was pushed",
        ),
    ],
)
def test_the_plugin_fails_a_test_that_leaves_something_open(
    pytester: pytest.Pytester, line: str, said: str
) -> None:
    """What a test leaves open is named, with the place where it was opened."""
    result = run(
        pytester,
        f"""
        everything = []
        def test_it(temporary_databases):
            {line}
            everything.append(dict(locals()))
        """,
    )
    result.stdout.fnmatch_lines([f"*{said}*"])
    assert result.parseoutcomes().get("errors") == 1


def test_the_plugin_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    """The library is not imported by a run that uses no fixture of it."""
    pytester.makepyfile(
        """
        import sys
        def test_it():
            assert "sqlite_container" not in sys.modules
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
