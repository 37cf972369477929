"""Declaring databases: from every kind of settings, in every kind of container."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from pydantic import BaseModel

from common.shop import SCHEMA, Archive, Lenient, Repository, Strict, new_app
from sqlite_container import (
    ConfigurationError,
    Connection,
    Database,
    DatabaseConfig,
    SQLite,
    SQLiteDict,
    UnknownDatabase,
    shutdown,
)
from sqlite_container.engine.engine import Engine
from sqlite_container.flask import init_app


@pytest.fixture
def made() -> Iterator[Callable[[Any], Any]]:
    """Shut down what was made, whatever happens."""
    made: list[Any] = []

    def make(container: Any) -> Any:
        made.append(container)
        return container

    yield make
    for container in made:
        shutdown(container)


def path_of(database: Database) -> str:
    with database.reader() as db:
        return str(db.execute("PRAGMA database_list").fetchone()[2])


Made = Callable[[Any], Any]


def test_settings_may_come_from_yaml_with_environment(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A YAML file with `${ENV}` in it, default values included, declares databases."""
    monkeypatch.setenv("WEB_FOLDER", str(tmp_path))
    monkeypatch.setenv("WEB_SIZE", "3")
    monkeypatch.delenv("WEB_TIMEOUT", raising=False)
    file = tmp_path / "config.yml"
    file.write_text(
        "databases:\n  notes:\n    path: ${WEB_FOLDER}/notes.db\n"
        "    pool: {max_size: ${WEB_SIZE}, timeout: ${WEB_TIMEOUT:0.5}}\n"
        "tenants:\n  acme: ${WEB_FOLDER}/{name}.db\n"
        "  globex: {path: '${WEB_FOLDER}/{name}.db', mode: rwc}\n"
    )
    container = made(Strict())
    container.config.from_yaml(file, required=True)
    assert container.notes.database.config().pool.max_size == 3
    assert container.notes.database.config().pool.timeout == 0.5
    container.init_resources()
    assert path_of(container.notes.database()) == str(tmp_path / "notes.db")
    assert path_of(container.tenants["acme"].database()) == str(tmp_path / "acme.db")
    assert path_of(container.tenants["globex"].database()) == str(tmp_path / "globex.db")


def test_settings_may_come_from_a_pydantic_model(made: Made, tmp_path: Path) -> None:
    """A pydantic model works as a whole configuration, and as the settings of one database."""

    class Pool(BaseModel):
        max_size: int = 2

    class One(BaseModel):
        path: Path
        pool: Pool = Pool()

    class Settings(BaseModel):
        databases: dict[str, One]
        tenants: dict[str, One] = {}

    settings = Settings(databases={"notes": One(path=tmp_path / "notes.db")})
    container = made(Strict())
    container.config.from_dict(settings.model_dump())
    assert container.notes.database().stats()["pool_max"] == 2

    other = made(containers.DynamicContainer())
    other.notes = SQLite(providers.Object(One(path=tmp_path / "other.db")))
    assert other.notes.database().stats()["pool_max"] == 2


def test_settings_may_come_from_pydantic_settings(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config.from_pydantic()` with settings from the environment declares databases."""
    pydantic_settings = pytest.importorskip("pydantic_settings")
    source = (
        "class Settings(BaseSettings, env_nested_delimiter='__', env_prefix='web_'):\n"
        "    databases: dict[str, dict[str, str]] = {}\n"
        "    tenants: dict[str, str] = {}\n"
    )
    names: dict[str, Any] = {"BaseSettings": pydantic_settings.BaseSettings, "__name__": "made"}
    exec(source, names)
    monkeypatch.setenv("WEB_DATABASES__NOTES__PATH", str(tmp_path / "notes.db"))
    container = made(Strict())
    container.config.from_pydantic(names["Settings"]())
    assert path_of(container.notes.database()) == str(tmp_path / "notes.db")


@pytest.mark.parametrize("kind", ["str", "path", "mapping", "config", "object", "dict provider"])
def test_settings_may_be_given_directly(made: Made, tmp_path: Path, kind: str) -> None:
    """A path, a mapping, a `DatabaseConfig` and any provider of one of them are settings."""
    path = tmp_path / "direct.db"
    settings: Any = {
        "str": str(path),
        "path": path,
        "mapping": {"path": path, "pool": {"max_size": 10}},
        "config": DatabaseConfig(path=str(path)),
        "object": providers.Object(path),
        "dict provider": providers.Dict(path=providers.Object(str(path))),
    }[kind]

    class Direct(containers.DeclarativeContainer):
        notes = SQLite(settings)
        many = SQLiteDict({"one": tmp_path / "one.db"})

    container = made(Direct())
    assert path_of(container.notes.database()) == str(path)
    assert container.many.names() == ["one"]
    assert path_of(container.many.one.database()) == str(tmp_path / "one.db")


@pytest.mark.parametrize("kind", [Strict, Lenient])
def test_settings_that_are_missing_are_named(made: Made, tmp_path: Path, kind: Any) -> None:
    """In a strict and in a lenient configuration, a missing database is told by its place."""
    container = made(kind())
    container.config.from_dict({"databases": {"notse": str(tmp_path / "x.db")}, "tenants": {}})
    with pytest.raises(ConfigurationError, match=r"^databases\.notes: "):
        container.notes.database()
    with pytest.raises(ConfigurationError, match=r"databases\.notes: "):
        init_app(new_app(tmp_path, "missing"), container)


@pytest.mark.parametrize("kind", [Strict, Lenient])
def test_tenants_that_are_missing_are_named(made: Made, tmp_path: Path, kind: Any) -> None:
    """A configuration without the tenants' settings is told by its place."""
    container = made(kind())
    container.config.from_dict({"databases": {"notes": str(tmp_path / "x.db")}})
    with pytest.raises(ConfigurationError, match=r"tenants: "):
        init_app(new_app(tmp_path, "missing"), container)


def test_init_app_tells_every_mistake_at_once(made: Made, tmp_path: Path) -> None:
    """One error lists the mistakes of all databases and tenants; nothing is opened or created."""
    container = made(Strict())
    container.config.from_dict(
        {
            "databases": {"notes": {"path": "notes.db", "pool": {"max_szie": 3}, "mode": "x"}},
            "tenants": {"good": "good.db", "bad": {"pth": "bad.db"}},
        }
    )
    folder = tmp_path / "instance"
    with pytest.raises(ConfigurationError) as caught:
        init_app(new_app(folder, "mistakes"), container)
    text = str(caught.value)
    for place in ("databases.notes.pool.max_szie", "databases.notes.mode", "tenants.bad.path"):
        assert place in text
    assert "did you mean 'max_size'?" in text
    assert "did you mean 'path'?" in text
    assert list(folder.iterdir()) == []


def test_nothing_is_opened_by_making_things(made: Made, tmp_path: Path) -> None:
    """A container, an app and `init_app` create no file; `init_resources()` opens everything."""
    container = made(Strict())
    tenants = {"acme": "{name}.db", "globex": "{name}.db"}
    container.config.from_dict({"databases": {"notes": "notes.db"}, "tenants": tenants})
    app = new_app(tmp_path, "one")
    init_app(app, container)
    assert list(tmp_path.iterdir()) == []
    container.init_resources()
    found = {file.name for file in tmp_path.glob("*.db")}
    assert found == {"notes.db", "acme.db", "globex.db"}
    container.shutdown_resources()
    assert {file.name for file in tmp_path.iterdir()} == found
    container.init_resources()
    assert container.notes.database.initialized


def test_twenty_databases_open_and_close(made: Made, tmp_path: Path) -> None:
    """Twenty databases are declared, opened and closed like one."""
    container = made(containers.DynamicContainer())
    for number in range(20):
        setattr(container, f"db{number}", SQLite(tmp_path / f"{number}.db"))
    container.init_resources()
    every = [getattr(container, f"db{number}").database for number in range(20)]
    assert all(each.initialized for each in every)
    assert {each.name for each in every} == {f"db{number}" for number in range(20)}
    container.shutdown_resources()
    assert not any(each.initialized for each in every)


def test_first_use_from_many_threads_opens_once(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty-two threads that use a database first, at once, share one opening."""
    prepare, prepared = Engine.create, []

    def slowly(self: Engine) -> None:
        prepared.append(self.name)
        time.sleep(0.05)  # long enough for the others to come
        prepare(self)

    monkeypatch.setattr(Engine, "create", slowly)

    class One(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "notes.db")
        tenants = SQLiteDict({"acme": tmp_path / "acme.db"})

    container = made(One())
    barrier = threading.Barrier(32)
    got: list[tuple[Database, Database]] = []

    def work() -> None:
        barrier.wait()
        got.append((container.notes.database(), container.tenants["acme"].database()))

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 32
    assert len(set(got)) == 1
    assert sorted(prepared) == ["notes", "tenants.acme"]
    assert [each.stats()["connections_num"] for each in got[0]] == [1, 1]


def test_a_database_keeps_its_identity_over_a_shutdown(made: Made, tmp_path: Path) -> None:
    """After shutdown and new initialisation `.database()` is the same object."""

    class One(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "notes.db")

    container = made(One())
    before = container.notes.database()
    container.shutdown_resources()
    assert before.closed
    assert container.notes.database() is before
    assert not before.closed


def test_nested_and_subclassed_containers_have_databases(made: Made, tmp_path: Path) -> None:
    """A database in a nested container and one that a subclass inherits work and have names."""

    class Core(containers.DeclarativeContainer):
        config = providers.Configuration()
        notes = SQLite(config.notes)

    class Outer(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        core = providers.Container(Core, config=config.core)
        repository = providers.Factory(Repository, cast(Any, core).notes.connection)

    class Sub(Outer):
        audit = SQLite(tmp_path / "audit.db")

    container = made(Sub())
    container.config.from_dict({"core": {"notes": "notes.db"}})
    app = new_app(tmp_path, "nested")
    init_app(app, container)
    with app.app_context():
        assert container.repository().db is container.core.notes.connection()
        container.audit.connection()
        assert [each.database for each in container.core.notes.database().holders()] == [
            "core.notes"
        ]
    assert path_of(container.core.notes.database()) == str(tmp_path / "notes.db")
    container.shutdown_resources()
    assert not container.core.notes.database.initialized


def test_two_instances_of_a_container_are_apart(made: Made, tmp_path: Path) -> None:
    """Each container instance has databases of its own, also for settings given in the class."""

    class One(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "notes.db")

    first, second = made(One()), made(One())
    assert first.notes.database() is not second.notes.database()
    first.shutdown_resources()
    assert not second.notes.database().closed
    assert not cast(Any, One).notes.database.initialized


def test_a_copied_container_has_its_own_databases(made: Made, tmp_path: Path) -> None:
    """`@containers.copy` makes a container whose databases are apart from the original's."""

    class Base(containers.DeclarativeContainer):
        config = providers.Configuration()
        notes = SQLite(config.notes)
        archive = providers.Singleton(Archive, notes.database)

    @containers.copy(Base)
    class Copy(Base):
        pass

    base, copy = made(Base()), made(Copy())
    base.config.from_dict({"notes": str(tmp_path / "base.db")})
    copy.config.from_dict({"notes": str(tmp_path / "copy.db")})
    assert path_of(base.archive().database) == str(tmp_path / "base.db")
    assert path_of(copy.archive().database) == str(tmp_path / "copy.db")
    assert copy.archive().database is copy.notes.database()


def test_providers_of_every_kind_take_databases(made: Made, tmp_path: Path) -> None:
    """Factories, Singletons, Callables, Lists, Dicts and Selectors take databases."""

    class Many(containers.DeclarativeContainer):
        config = providers.Configuration()
        notes = SQLite(tmp_path / "notes.db")
        audit = SQLite(tmp_path / "audit.db")
        factory = providers.Factory(Repository, notes.connection)
        singleton = providers.Singleton(Archive, notes.database)
        call = providers.Callable(lambda db: db.execute("SELECT 7").fetchone()[0], notes.reader)
        several = providers.List(notes.connection, audit.connection)
        named = providers.Dict(notes=notes.database, audit=audit.database)
        chosen = providers.Selector(config.which, one=notes.database, two=audit.database)
        name = notes.database.provided.name
        total = notes.connection.provided.total_changes

    container = made(Many())
    container.config.from_dict({"which": "two"})
    app = new_app(tmp_path, "many")
    init_app(app, container)
    with app.app_context():
        db = container.notes.connection()
        assert isinstance(db, Connection)
        assert container.factory().db is db
        assert container.factory() is not container.factory()
        assert container.several() == [db, container.audit.connection()]
        assert container.call() == 7
        assert container.total() == db.total_changes
    assert container.singleton().database is container.notes.database()
    assert container.named() == {
        "notes": container.notes.database(),
        "audit": container.audit.database(),
    }
    assert container.chosen() is container.audit.database()
    assert container.name() == "notes"


def test_a_provider_added_to_an_instance_is_no_obstacle(made: Made, tmp_path: Path) -> None:
    """A container that got a provider after it was made can be given to an app."""
    container = made(Strict())
    container.config.from_dict({"databases": {"notes": ":memory:"}, "tenants": {}})
    container.extra = providers.Object(1)
    init_app(new_app(tmp_path, "extra"), container)


# -- overriding ---------------------------------------------------------------------------


@pytest.fixture
def shop(made: Made, tmp_path: Path) -> Any:
    """A container in an app, with a service and a repository."""

    class One(containers.DeclarativeContainer):
        notes = SQLite({"path": "notes.db"})
        repository = providers.Factory(Repository, notes.connection)
        archive = providers.Factory(Archive, notes.database)
        app = providers.Object(new_app(tmp_path, "shop"))

    container = made(One())
    init_app(container.app(), container)
    return container


def test_a_connection_can_be_overridden(shop: Any) -> None:
    """`.connection.override()` reaches every provider that takes it, and ends with its block."""
    fake = object()
    with shop.app().app_context():
        with shop.notes.connection.override(providers.Object(fake)):
            assert shop.notes.connection() is fake
            assert shop.repository().db is fake
            assert isinstance(shop.notes.reader(), Connection)
        assert isinstance(shop.notes.connection(), Connection)
        shop.notes.reader.override(fake)
        assert shop.notes.reader() is fake
        shop.notes.reader.reset_override()
        assert isinstance(shop.notes.reader(), Connection)


def test_a_database_can_be_overridden(shop: Any, tmp_path: Path) -> None:
    """With another database in its place, connections and services come from that one."""
    other = Database("other")
    other.open(tmp_path / "other.db")
    with shop.app().app_context(), shop.notes.database.override(providers.Object(other)):
        assert shop.notes.database() is other
        assert shop.archive().database is other
        assert shop.repository().db is shop.notes.connection()
        assert len(other.holders()) == 1
    assert other.holders() == []
    assert not shop.notes.database.initialized
    other.close()


@pytest.mark.parametrize("by_name", [True, False])
def test_a_whole_database_can_be_overridden(shop: Any, tmp_path: Path, by_name: bool) -> None:
    """An overriding `SQLite` answers for all three providers, and the original returns after it."""
    shop.notes.database()
    replacement = SQLite({"path": str(tmp_path / "other.db")})
    if by_name:
        shop.override_providers(notes=replacement)
    else:
        shop.notes.override(replacement)
    with shop.app().app_context():
        assert path_of(shop.notes.database()) == str(tmp_path / "other.db")
        assert (
            shop.repository().db.execute("PRAGMA database_list").fetchone()[2].endswith("other.db")
        )
        assert shop.notes.reader().read_only
    shop.notes.database().close()
    shop.notes.reset_override()
    assert path_of(shop.notes.database()) == str(tmp_path / "notes.db")


def test_relative_paths_of_an_override_start_in_the_instance_folder(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is taken from the app's instance folder, in an override too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    shop.notes.override(SQLite({"path": "over.db"}))
    shop.notes.database().close()
    assert list(tmp_path.rglob("over.db")) == [tmp_path / "over.db"]


def test_a_container_class_can_be_overridden(made: Made, tmp_path: Path) -> None:
    """`@containers.override` with another database works as dependency-injector documents."""

    class Base(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "base.db")
        archive = providers.Factory(Archive, notes.database)

    @containers.override(Base)
    class Other(containers.DeclarativeContainer):
        notes = SQLite(tmp_path / "other.db")

    container = made(Base())
    assert path_of(container.archive().database) == str(tmp_path / "other.db")


def test_a_mistyped_member_is_told(tmp_path: Path) -> None:
    """On the class, where views are declared, and on an instance."""

    class Container(containers.DeclarativeContainer):
        notes: Any = SQLite(tmp_path / "notes.db")

    for container in (Container, Container()):
        with pytest.raises(
            AttributeError,
            match=r"^database 'notes' has no 'conection'; did you mean 'connection'\?$",
        ):
            _ = container.notes.conection
        with pytest.raises(AttributeError, match=r"known are: connection, database, reader"):
            _ = container.notes.xyz
        assert not hasattr(container.notes, "_private")


# -- tenants ------------------------------------------------------------------------------


@pytest.fixture
def tenants(made: Made, tmp_path: Path) -> Any:
    """A container with tenants whose names may be anything that is allowed."""
    (tmp_path / "schema.sql").write_text(SCHEMA)
    container = made(Strict())
    names = [
        "acme",
        "globex",
        "names",
        "provider",
        "related",
        "with.dot",
        "a-b",
        "x@y",
        "Ünal",
        "1st",
    ]
    container.config.from_dict(
        {
            "databases": {"notes": ":memory:"},
            "tenants": {name: {"path": "{name}.db", "schema": "schema.sql"} for name in names},
        }
    )
    app = new_app(tmp_path, "tenants")
    init_app(app, container)
    container.app = providers.Object(app)
    return container.tenants


def test_tenants_are_known_by_name(tenants: Any, tmp_path: Path) -> None:
    """Each configured name, of any allowed form, is a database on the file of its name."""
    for name in tenants.names():
        assert path_of(tenants[name].database()) == str(tmp_path / f"{name}.db")
        assert tenants[name].database().name == f"tenants.{name}"
        assert tenants[name] is tenants[name]
    assert tenants.acme is tenants["acme"]
    assert list(tenants) == tenants.names()
    assert len(tenants) == 10
    assert "acme" in tenants
    assert "nobody" not in tenants


@pytest.mark.parametrize(
    "name", ["acmee", "../x", "a/b", "", ".hidden", "a\0b", "..", "/etc/passwd", "a\\b"]
)
def test_an_unknown_name_is_refused(tenants: Any, tmp_path: Path, name: str) -> None:
    """A name that is not configured raises `UnknownDatabase`, a KeyError, and makes no file."""
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UnknownDatabase) as caught:
        tenants[name].database()
    assert isinstance(caught.value, KeyError)
    assert repr(name) in str(caught.value)
    assert set(tmp_path.rglob("*")) == before


def test_the_nearest_name_is_told(tenants: Any) -> None:
    """Where the app's own code names it; by item, the name may come from a client."""
    with pytest.raises(UnknownDatabase, match=r"there is no database 'acmee'$"):
        tenants["acmee"]
    with pytest.raises(AttributeError, match="did you mean 'acme'"):
        _ = tenants.acmee


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".hidden", "a\0b", "..", "/etc/passwd", "a\\b", "a\n", " a"]
)
def test_a_bad_name_in_the_configuration_is_refused(made: Made, tmp_path: Path, name: str) -> None:
    """A configured name that could leave its folder is a mistake in the configuration."""
    container = made(Strict())
    container.config.from_dict(
        {"databases": {"notes": ":memory:"}, "tenants": {"good": "good.db", name: "{name}.db"}}
    )
    with pytest.raises(ConfigurationError, match="letters, digits"):
        init_app(new_app(tmp_path, "bad"), container)
    with pytest.raises(ConfigurationError, match="letters, digits"):
        container.tenants.names()


def test_two_tenants_on_one_file_are_refused(made: Made, tmp_path: Path) -> None:
    """A path without `{name}` for two tenants is a mistake, told before anything opens."""
    container = made(Strict())
    container.config.from_dict(
        {"databases": {"notes": ":memory:"}, "tenants": {"a": "same.db", "b": "same.db"}}
    )
    with pytest.raises(ConfigurationError, match="same file"):
        init_app(new_app(tmp_path, "same"), container)


def test_a_name_used_in_the_class_but_not_configured_is_told(made: Made, tmp_path: Path) -> None:
    """A tenant that code names, by the container's class, and nobody configured has its error."""

    class Named(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        tenants = SQLiteDict(config.tenants)
        repository = providers.Factory(Repository, tenants["nobody"].connection)

    container = made(Named())
    container.config.from_dict({"tenants": {"acme": str(tmp_path / "acme.db")}})
    with pytest.raises((UnknownDatabase, ConfigurationError), match="nobody"):
        init_app(new_app(tmp_path, "named"), container)
    with pytest.raises((UnknownDatabase, ConfigurationError), match="nobody"):
        container.tenants["nobody"].database()


def test_a_tenant_that_is_configured_later_is_there(tenants: Any, tmp_path: Path) -> None:
    """A name that the configuration gets later is a database without further ado."""
    config = tenants._settings
    config.from_dict({"later": {"path": "{name}.db"}})
    assert "later" in tenants.names()
    assert path_of(tenants["later"].database()) == str(tmp_path / "later.db")
    assert tenants.later is tenants["later"]
