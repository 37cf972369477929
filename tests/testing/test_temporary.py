"""Databases of a test run: temporary, isolated, overridden."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers
from flask import Flask

from sqlite_container import (
    Connection,
    Database,
    DatabaseClosed,
    SQLite,
    SQLiteDict,
    UnknownDatabase,
    shutdown,
)
from sqlite_container.database import for_tests
from sqlite_container.database.database import live
from sqlite_container.engine import schema
from sqlite_container.flask import init_app
from sqlite_container.testing import isolated, replacing, temporary_databases
from testing.helpers import add, content, count, make


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


def test_the_schema_runs_once(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh database is written as a whole, however many there are; a new schema runs again."""
    applied: list[object] = []
    original = schema.apply

    def apply(*args: Any) -> None:
        applied.append(args)
        original(*args)

    monkeypatch.setattr(schema, "apply", apply)
    for column, expected in (("once", 1), ("twice", 2)):
        (tmp_path / "notes.sql").write_text(f"CREATE TABLE note (title TEXT, {column});")
        for _ in range(10):
            with temporary_databases(shop):
                assert count(shop.notes.database(), f"(SELECT {column} FROM note)") == 0
                assert count(shop.tenants["acme"].database()) == 0
        assert len(applied) == expected


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


@pytest.mark.parametrize("only", [["note"], ["tenants.acm"], ["notes", "word"], "nots", [""]])
def test_a_name_that_does_not_exist_is_told(shop: Any, only: Any) -> None:
    """A typing mistake in ``only`` does not leave the real database in place."""
    with (
        pytest.raises(UnknownDatabase, match="there is no database"),
        temporary_databases(shop, only=only),
    ):
        pytest.fail("it began")
    assert count(shop.notes.database()) == 1


@pytest.mark.parametrize(
    "only", ["notes", ["notes"], {"tenants.acme", "notes"}, ("cache", "notes")]
)
def test_names_can_come_in_any_collection(shop: Any, only: Any) -> None:
    """Also as one string."""
    with temporary_databases(shop, only=only):
        assert count(shop.notes.database()) == 0
        assert count(shop.words.database(), "word") == 1
        assert count(shop.tenants["acme"].database()) == ("tenants.acme" not in only)


def test_a_tenant_that_is_new_is_temporary_too(shop: Any, tmp_path: Path) -> None:
    """Whether the configuration had it when the block began, or has it only now."""
    with temporary_databases(shop):
        settings = {"path": str(tmp_path / "{name}.db"), "schema": str(tmp_path / "notes.sql")}
        shop.config.tenants.from_dict({"zoo": settings})
        add(shop.tenants["zoo"].database())
        later = make(tmp_path)
        later.config.tenants.from_dict({"zoo": settings})
        assert count(later.tenants["zoo"].database()) == 1
    assert not (tmp_path / "zoo.db").exists()
    shutdown(later)


def test_an_override_within_is_temporary_too(shop: Any, tmp_path: Path) -> None:
    """A database that takes the place of one of the container's is one of them."""
    for only in (None, ["notes"]):
        with temporary_databases(shop, only=only):
            other = SQLite(
                {"path": str(tmp_path / "other.db"), "schema": str(tmp_path / "notes.sql")}
            )
            with shop.notes.override(other):
                add(shop.notes.database())
        with (
            shop.notes.override(other),
            temporary_databases(shop, only=only),
        ):
            add(shop.notes.database())
            assert count(shop.notes.database()) == 1
    assert not (tmp_path / "other.db").exists()


def test_a_relative_path_starts_where_it_does_without_the_block(tmp_path: Path) -> None:
    """In an app that is its instance folder, for whoever overrides a database as well."""
    app = Flask(__name__, instance_path=str(tmp_path))
    container: Any = containers.DynamicContainer()
    container.notes = SQLite("notes.db")
    container.notes.assign_parent(container)
    init_app(app, container)
    stranger = Database()
    with container.notes.override(SQLite("other.db")), temporary_databases(container):
        for name in ("notes.db", "other.db"):
            stranger.open(tmp_path / name)
            with stranger.transaction() as db:
                db.execute("CREATE TABLE note (title TEXT)")
            stranger.close()
        assert count(container.notes.database()) == 0
    assert not list(tmp_path.glob("*.db"))


def test_another_name_of_the_file_is_the_same_file(shop: Any, tmp_path: Path) -> None:
    """Through a link, or a path that goes round in circles."""
    (tmp_path / "link.db").symlink_to(tmp_path / "notes.db")
    (tmp_path / "folder").mkdir()
    linked = make(tmp_path, path=str(tmp_path / "link.db"))
    for path in ("link.db", "folder/../notes.db", "notes.db"):
        for container in (shop, linked):
            stranger = Database()
            with temporary_databases(container):
                stranger.open(tmp_path / path)
                add(stranger)
                assert count(container.notes.database()) == 1
            stranger.close()
            assert count(container.notes.database()) == 1
    shutdown(linked)


def test_whoever_was_not_open_yet_opens_the_real_one_afterwards(shop: Any, tmp_path: Path) -> None:
    """A service of another container, which the block met closed, is not left closed."""
    other = make(tmp_path)
    held = other.notes.database.current
    with temporary_databases(shop):
        add(held)
        assert count(held) == count(shop.notes.database()) == 1
    assert count(held) == 1
    add(held)
    assert count(shop.notes.database()) == 2
    shutdown(other)


def test_a_database_that_was_closed_is_closed_again(shop: Any) -> None:
    """A container that was shut down is so after the block, whatever happened within."""
    kept = shop.notes.database()
    shutdown(shop)
    with temporary_databases(shop):
        add(shop.notes.database())
        assert count(kept) == 1
    assert kept.closed
    with pytest.raises(DatabaseClosed):
        count(kept)


def test_resources_can_be_initialised_and_shut_down_within(shop: Any, tmp_path: Path) -> None:
    """A test that starts and ends the container does so with temporary databases."""
    before = content(tmp_path)
    with temporary_databases(shop):
        for _ in range(2):
            shop.init_resources()
            add(shop.notes.database())
            shop.shutdown_resources()
        assert count(shop.notes.database()) == 2
    assert content(tmp_path) == before
    assert count(shop.notes.database()) == 1


def test_nothing_of_a_block_is_left_in_the_process(shop: Any) -> None:
    """No connection, no database, no hook: also after one that could not begin."""
    open_before = {each.name: each for each in live}
    with temporary_databases(shop), isolated(shop):
        add(shop.notes.database())
    with (
        shop.words.database().connection(),
        pytest.raises(RuntimeError, match="'words'"),
        temporary_databases(shop),
    ):
        pytest.fail("it began")
    assert {each.name: each for each in live} == open_before | {"words": shop.words.database()}
    assert [*for_tests.substitutes, *for_tests.refusals, *replacing._current] == []
    assert [each._aside for each in live] == [[]] * len(live)
    assert count(shop.notes.database()) == 1


def test_an_app_context_around_a_block_gives_back_what_it_has(tmp_path: Path) -> None:
    """What it borrowed within goes back at the end; afterwards it gets a real one."""
    app = Flask(__name__, instance_path=str(tmp_path))
    container: Any = containers.DynamicContainer()
    container.notes = SQLite("notes.db")
    container.notes.assign_parent(container)
    init_app(app, container)
    with app.app_context():
        for _ in range(2):
            with temporary_databases(container):
                container.notes.connection().execute("CREATE TABLE note (title TEXT)")
        assert container.notes.connection().execute("SELECT * FROM sqlite_schema").fetchall() == []
    shutdown(container)
