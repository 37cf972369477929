"""Providers that would keep a connection for longer than a request, found by init_app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers

from common.shop import Archive, Repository, new_app
from sqlite_container import SQLite, SQLiteDict, WiringError, shutdown
from sqlite_container.flask import init_app


class Service:
    """Takes whatever it is given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.given = [*args, *kwargs.values()]


def resource(db: Any) -> Any:
    """A resource of the app's own."""
    yield db


def container_with(make: Any) -> Any:
    """A container with a database, tenants and one more provider."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite(":memory:")
        tenants = SQLiteDict({"acme": ":memory:"})
        repository = providers.Factory(Repository, notes.connection)
        made = make(notes, tenants, repository)

    return Container()


TOO_LONG: dict[str, Any] = {
    "singleton": lambda n, t, r: providers.Singleton(Repository, n.connection),
    "by name": lambda n, t, r: providers.Singleton(Repository, db=n.connection),
    "reader": lambda n, t, r: providers.ThreadSafeSingleton(Repository, n.reader),
    "thread": lambda n, t, r: providers.ThreadLocalSingleton(Repository, n.reader),
    "factory": lambda n, t, r: providers.Singleton(Service, r),
    "list": lambda n, t, r: providers.Singleton(Service, providers.List(r, n.reader)),
    "dict": lambda n, t, r: providers.Singleton(Service, providers.Dict(db=n.connection)),
    "callable": lambda n, t, r: providers.Singleton(Service, providers.Callable(str, n.connection)),
    "tenant": lambda n, t, r: providers.Singleton(Repository, t["acme"].connection),
    "attribute": lambda n, t, r: providers.Singleton(Service).add_attributes(db=n.connection),
    "provided": lambda n, t, r: providers.Singleton(Service, n.connection.provided.execute),
    "resource": lambda n, t, r: providers.Resource(resource, n.connection),
}


@pytest.mark.parametrize("make", TOO_LONG.values(), ids=TOO_LONG)
def test_what_outlives_a_request_takes_no_connection(tmp_path: Path, make: Any) -> None:
    """It would work for one request, and be refused in every other."""
    container = container_with(make)
    with pytest.raises(WiringError, match=r"goes back at the end of each request") as caught:
        init_app(new_app(tmp_path, "app"), container)
    message = str(caught.value)
    assert message.startswith("provider 'made' (")
    assert "notes.database" in message or "tenants.acme.database" in message
    assert len(message.splitlines()) == 1 + (make is TOO_LONG["list"])


WHOLE: dict[str, Any] = {
    "factory": lambda n, t, r: providers.Factory(Archive, n),
    "singleton": lambda n, t, r: providers.Singleton(Archive, database=n),
    "list": lambda n, t, r: providers.List(n),
    "tenants": lambda n, t, r: providers.Factory(Archive, t),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_nobody_takes_a_whole_database_provider(tmp_path: Path, make: Any) -> None:
    """It would be given a container of dependency-injector's."""
    container = container_with(make)
    with pytest.raises(WiringError, match=r"argument .* is the whole container of .*; add '\."):
        init_app(new_app(tmp_path, "app"), container)


RIGHT: dict[str, Any] = {
    "database": lambda n, t, r: providers.Singleton(Archive, n.database),
    "provider": lambda n, t, r: providers.Singleton(Service, n.connection.provider),
    "factory's provider": lambda n, t, r: providers.Singleton(Service, r.provider),
    "per context": lambda n, t, r: providers.ContextLocalSingleton(Repository, n.connection),
    "factory": lambda n, t, r: providers.Factory(Service, r, n.reader),
    "tenants": lambda n, t, r: providers.Singleton(Service, t.provider),
    "delegated factory": lambda n, t, r: providers.Singleton(
        Service, providers.DelegatedFactory(Repository, n.connection)
    ),
    "delegated callable": lambda n, t, r: providers.Singleton(
        Service, providers.DelegatedCallable(Repository, n.connection)
    ),
    "aggregate": lambda n, t, r: providers.Singleton(Service, providers.FactoryAggregate(one=r)),
    "overridden factory": lambda n, t, r: providers.Singleton(Service, overridden(r)),
}


def overridden(factory: Any) -> Any:
    """A factory in whose place a test has put something else."""
    factory.override(providers.Object("a fake"))
    return factory


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_left_alone(tmp_path: Path, make: Any) -> None:
    """Databases may be kept, and so may what gives a connection when it is called."""
    container = container_with(make)
    app = new_app(tmp_path, "app")
    init_app(app, container)
    with app.app_context():
        assert container.made() is not None
    shutdown(container)


def test_a_provider_of_a_nested_container_is_named(tmp_path: Path) -> None:
    """And a connection that a test overrides is none."""

    class Inner(containers.DeclarativeContainer):
        notes = SQLite(":memory:")
        kept = providers.Singleton(Repository, notes.connection)

    class Outer(containers.DeclarativeContainer):
        core = providers.Container(Inner)

    outer: Any = Outer()
    with pytest.raises(WiringError, match=r"provider 'core.kept' \(Singleton\)"):
        init_app(new_app(tmp_path, "app"), outer)
    with outer.core.notes.connection.override(providers.Object(None)):
        init_app(new_app(tmp_path, "app"), outer)
    shutdown(outer)
