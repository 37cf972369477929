"""`shutdown()`: everything is closed, in order, whatever fails."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers, resources
from flask import Flask

from sqlite_container import (
    ConfigurationError,
    Database,
    DatabaseClosed,
    SQLite,
    SQLiteDict,
    shutdown,
    shutdown_at_exit,
)
from sqlite_container.testing import isolated, temporary_databases

events: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    events.clear()
    yield
    events.clear()


def generator(name: str, *_: object, fail: bool = False) -> Iterator[str]:
    events.append(f"open {name}")
    yield name
    events.append(f"close {name}")
    if fail:
        raise LookupError(name)


class Asynchronous(resources.AsyncResource[str]):
    async def init(self, name: str = "async", *_: object) -> str:
        events.append(f"open {name}")
        return name

    async def shutdown(self, resource: str | None) -> None:
        await asyncio.sleep(0)
        events.append(f"close {resource}")


class Class(resources.Resource[str]):
    def init(self, name: str = "class", *_: object) -> str:
        events.append(f"open {name}")
        return name

    def shutdown(self, resource: str | None) -> None:
        events.append(f"close {resource}")


@pytest.fixture
def watch_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note each database that is closed."""
    close = Database.close

    def noted(self: Database, timeout: float | None = None) -> None:
        if not self.closed:
            events.append(f"close {self.name}")
        close(self, timeout)

    monkeypatch.setattr(Database, "close", noted)


def make(folder: Path, **more: Any) -> Any:
    class Container(containers.DeclarativeContainer):
        notes = SQLite(folder / "notes.db")
        audit = SQLite(folder / "audit.db")
        tenants = SQLiteDict({"acme": folder / "acme.db", "globex": folder / "globex.db"})

    container: Any = Container()
    for name, provider in more.items():
        setattr(container, name, provider)
    return container


def test_everything_is_closed_and_can_be_opened_again(tmp_path: Path) -> None:
    """After `shutdown()` all is closed; the container can be initialised again."""
    container = make(tmp_path)
    for _ in range(2):
        container.init_resources()
        every = [
            container.notes,
            container.audit,
            *map(container.tenants.__getitem__, "acme globex".split()),
        ]
        assert all(each.database.initialized for each in every)
        shutdown(container)
        assert not any(each.database.initialized for each in every)
        assert not list(tmp_path.glob("*-wal"))
    shutdown(container)


def test_what_was_never_opened_is_not_opened(tmp_path: Path) -> None:
    """`shutdown()` of a container that nobody used opens nothing."""
    container = make(tmp_path)
    shutdown(container)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shut_down", [shutdown, lambda container: container.shutdown_resources()])
def test_dependents_are_closed_first(
    tmp_path: Path, watch_closes: None, shut_down: Callable[[Any], object]
) -> None:
    """A resource that was made of a database is closed before it; what a database needs, after."""
    container = make(tmp_path)
    container.cache = providers.Resource(generator, "cache", container.notes.database)
    container.index = providers.Resource(Class, "index", container.cache)
    container.init_resources()
    shut_down(container)
    closes = [event for event in events if event.startswith("close")]
    assert closes.index("close index") < closes.index("close cache")
    if "close notes" in closes:  # the databases close together, perhaps not by Database.close
        assert closes.index("close cache") < closes.index("close notes")
    assert not container.notes.database.initialized


def test_a_dependent_may_still_use_its_database(tmp_path: Path) -> None:
    """While a resource shuts down, the database that it was made of is still open."""

    def cache(database: Database) -> Iterator[Database]:
        yield database
        with database.transaction() as db:
            db.execute("CREATE TABLE flushed (x)")
        events.append("flushed")

    container = make(tmp_path)
    container.cache = providers.Resource(cache, container.notes.database)
    container.init_resources()
    shutdown(container)
    assert events == ["flushed"]


def test_a_database_that_was_made_of_a_resource_is_closed_before_it(
    tmp_path: Path,
) -> None:
    """A resource that a database's settings come from outlives the database."""

    def folder() -> Iterator[Path]:
        yield tmp_path / "late.db"
        events.append(f"open: {container.late.database.initialized}")

    container = make(tmp_path)
    container.place = providers.Resource(folder)
    container.late = SQLite(container.place)
    container.late.database()
    shutdown(container)
    assert events == ["open: False"]


def test_every_kind_of_resource_is_closed(tmp_path: Path) -> None:
    """Generators, classes and asynchronous resources of the user are closed too."""
    container = make(
        tmp_path,
        one=providers.Resource(generator, "one"),
        two=providers.Resource(Class, "two"),
        three=providers.Resource(Asynchronous, "three"),
    )

    async def start() -> None:
        await container.init_resources()

    container.notes.database()
    asyncio.run(start())
    shutdown(container)
    assert {"close one", "close two", "close three"} <= set(events)
    assert not container.notes.database.initialized
    shutdown(container)
    assert len(events) == 6


def test_shutdown_inside_of_a_running_loop_closes_what_it_can(tmp_path: Path) -> None:
    """Called where an event loop runs, it closes every synchronous resource all the same."""
    container = make(tmp_path, one=providers.Resource(generator, "one"))

    async def main() -> None:
        container.init_resources()
        shutdown(container)

    asyncio.run(main())
    assert events == ["open one", "close one"]
    assert not container.notes.database.initialized


def test_failures_are_raised_together_after_everything_was_closed(tmp_path: Path) -> None:
    """Two resources that fail: all others and all databases are closed, then one group says so."""
    container = make(tmp_path)
    container.one = providers.Resource(generator, "one", container.notes.database, fail=True)
    container.two = providers.Resource(generator, "two", container.audit.database, fail=True)
    container.three = providers.Resource(generator, "three")
    container.init_resources()
    with pytest.raises(ExceptionGroup) as caught:
        shutdown(container)
    assert sorted(str(error) for error in caught.value.exceptions) == ["one", "two"]
    assert {"close one", "close two", "close three"} <= set(events)
    databases = [container.notes, container.audit, container.tenants["acme"]]
    assert not any(each.database.initialized for each in databases)
    assert not list(tmp_path.glob("*-wal"))


def break_close(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this database fail to close, once."""
    start = Database.start_closing

    def broken(self: Database, timeout: float | None) -> Any:
        if self is database:
            monkeypatch.undo()
            raise OSError(f"{database.name} fails")
        return start(self, timeout)

    monkeypatch.setattr(Database, "start_closing", broken)


def test_a_database_that_fails_to_close_is_in_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database whose closing fails does not keep the others open, and is reported."""
    container = make(tmp_path)
    container.init_resources()
    break_close(container.notes.database(), monkeypatch)
    with pytest.raises(ExceptionGroup) as caught:
        shutdown(container)
    assert caught.group_contains(OSError, match="notes fails")
    assert not container.audit.database.initialized
    assert not container.tenants["acme"].database.initialized
    shutdown(container)
    assert not container.notes.database.initialized


def test_shutdown_resources_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """dependency-injector's own `shutdown_resources()` closes all databases where one fails."""
    container = make(tmp_path)
    container.init_resources()
    break_close(container.notes.database(), monkeypatch)
    container.shutdown_resources()
    assert not container.audit.database.initialized
    assert not container.tenants["globex"].database.initialized
    assert "notes" in caplog.text
    shutdown(container)


class Failing(resources.AsyncResource[str]):
    async def init(self, *_: object) -> str:
        return "failing"

    async def shutdown(self, resource: str | None) -> None:
        raise LookupError("async")


def all_closed(container: Any) -> bool:
    every = [
        container.notes,
        container.audit,
        *map(container.tenants.__getitem__, "acme globex".split()),
    ]
    return not any(each.database.initialized for each in every)


def test_shutdown_resources_goes_on_where_a_resource_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`shutdown_resources()` closes all, then raises the first failure and logs the others."""
    container = make(tmp_path)
    for name in ("one", "two"):
        resource = providers.Resource(generator, name, container.notes.database, fail=True)
        setattr(container, name, resource)
    container.three = providers.Resource(generator, "three")
    container.init_resources()
    with pytest.raises(LookupError) as caught:
        container.shutdown_resources()
    assert all_closed(container)
    assert {"close one", "close two", "close three"} <= set(events)
    assert not list(tmp_path.glob("*-wal"))
    first, other = ("one", "two") if str(caught.value) == "one" else ("two", "one")
    assert (str(caught.value), f"LookupError: {other}" in caplog.text) == (first, True)
    container.init_resources()
    assert container.notes.database.initialized
    with pytest.raises(LookupError):
        container.shutdown_resources()
    assert all_closed(container)


def test_a_dependent_that_fails_is_closed_before_its_database(
    tmp_path: Path, watch_closes: None
) -> None:
    """The order of `shutdown_resources()` is kept where one of the dependents fails."""
    container = make(tmp_path)
    container.bad = providers.Resource(generator, "bad", fail=True)
    container.cache = providers.Resource(generator, "cache", container.notes.database)
    container.index = providers.Resource(generator, "index", container.cache, fail=True)
    container.init_resources()
    with pytest.raises(LookupError):
        container.shutdown_resources()
    order = ["close index", "close cache", "close notes"]
    assert [each for each in events if each in order] == order


def test_asynchronous_shutdown_resources_goes_on_too(tmp_path: Path) -> None:
    """Awaited, `shutdown_resources()` closes every database and raises what failed."""
    container = make(tmp_path)
    container.bad = providers.Resource(Failing, container.notes.database)
    container.one = providers.Resource(generator, "one", container.notes.database)

    async def main() -> None:
        await container.init_resources()
        with pytest.raises(LookupError, match="async"):
            await container.shutdown_resources()

    asyncio.run(main())
    assert all_closed(container)
    assert "close one" in events


@pytest.mark.parametrize("nested", [True, False])
def test_a_method_that_was_kept_before_goes_on_as_well(tmp_path: Path, nested: bool) -> None:
    """In nested containers, and as `atexit` would have it, `shutdown_resources()` closes all."""

    class Core(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "core.db")

    class Outer(containers.DeclarativeContainer):
        core: Any = providers.Container(Core)
        bad = providers.Resource(generator, "bad", core.notes.database, fail=True)

    container: Any = Outer() if nested else containers.DynamicContainer()
    if nested:
        shutdown_at_exit(container, signals=False)
    else:
        container.notes = SQLite(tmp_path / "notes.db")
        container.bad = providers.Resource(generator, "bad", container.notes.database, fail=True)
    kept = container.shutdown_resources
    container.init_resources()
    with pytest.raises(LookupError):
        kept()
    assert not (container.core if nested else container).notes.database.initialized


def test_a_nested_database_is_closed_without_ado(tmp_path: Path) -> None:
    """A container whose databases are all in nested ones closes them, whatever fails before."""

    class Core(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "core.db")

    class Outer(containers.DeclarativeContainer):
        core: Any = providers.Container(Core)
        bad = providers.Resource(generator, "bad", core.notes.database, fail=True)

    container: Any = Outer()
    container.init_resources()
    with pytest.raises(LookupError):
        container.shutdown_resources()
    assert not container.core.notes.database.initialized


def test_shutdown_resources_of_another_kind_leaves_databases_open(tmp_path: Path) -> None:
    """Only what is of the given type is shut down, also where something fails."""
    container = make(tmp_path)

    class Other(providers.Resource[Any]):
        pass

    container.bad = Other(generator, "bad", fail=True)
    container.init_resources()
    with pytest.raises(LookupError):
        container.shutdown_resources(Other)
    assert container.notes.database.initialized
    with pytest.raises(TypeError):
        container.shutdown_resources(str)
    assert container.notes.database.initialized
    shutdown(container)


def test_a_container_that_is_dropped_is_collected(tmp_path: Path) -> None:
    """What watches over its shutdown does not keep a container alive."""
    container = make(tmp_path)
    reference = weakref.ref(container)
    del container
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    "call",
    [
        shutdown,
        shutdown_at_exit,
        lambda it: enter(temporary_databases(it)),
        lambda it: enter(isolated(it)),
    ],
)
def test_a_class_instead_of_an_instance_is_refused(call: Callable[[Any], object]) -> None:
    """A container class, or an app, is told that an instance of a container is expected."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite("notes.db")

    with pytest.raises(ConfigurationError, match=r"instance of a container .* Container\(\)$"):
        call(Container)
    with pytest.raises(ConfigurationError, match=r"instance of a container .* app\.container"):
        call(Flask("x"))
    with pytest.raises(ConfigurationError, match="instance of a container"):
        call(None)


def enter(block: Any) -> None:
    with block:
        pytest.fail("nothing is to be replaced")


def test_an_interrupt_does_not_keep_databases_open(tmp_path: Path) -> None:
    """A Ctrl-C in the middle of a user's shutdown function comes through, and is not swallowed."""

    def interrupted() -> Iterator[None]:
        yield
        raise KeyboardInterrupt

    container = make(tmp_path)
    container.one = providers.Resource(interrupted)
    container.init_resources()
    with pytest.raises(KeyboardInterrupt):
        shutdown(container)
    shutdown(container)
    assert not container.notes.database.initialized


def test_a_database_used_after_shutdown_says_so(tmp_path: Path) -> None:
    """A `Database` that a service kept raises `DatabaseClosed`, until it is initialised again."""
    container = make(tmp_path)
    database = container.notes.database()
    shutdown(container)
    with pytest.raises(DatabaseClosed, match="notes"), database.connection():
        pass
    container.init_resources()
    with database.connection() as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    shutdown(container)


def test_overridden_and_nested_databases_are_closed_too(tmp_path: Path) -> None:
    """`shutdown()` reaches databases in nested containers, and the one beneath an override."""

    class Core(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "core.db")

    class Outer(containers.DeclarativeContainer):
        core = providers.Container(Core)
        notes = SQLite(tmp_path / "notes.db")

    container: Any = Outer()
    container.init_resources()
    beneath = container.notes.database()
    other = SQLite(tmp_path / "other.db")
    container.notes.override(other)
    above = container.notes.database()
    assert above is not beneath
    assert not above.closed
    core = container.core.notes.database()
    shutdown(container)
    assert beneath.closed
    assert above.closed
    assert core.closed
    assert sys.getrefcount(container) > 0
