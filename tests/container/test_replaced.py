"""A database that a subclass, a copy or an instance puts in the place of another."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers

from common.shop import Archive, Repository, new_app
from sqlite_container import ConfigurationError, SQLite, SQLiteDict, shutdown
from sqlite_container.flask import init_app


class Base(containers.DeclarativeContainer):
    """Providers that use a database in each way."""

    config = providers.Configuration()
    notes = SQLite(config.notes)
    tenants = SQLiteDict(config.tenants)
    archive = providers.Singleton(Archive, notes.database)
    repository = providers.Factory(Repository, notes.connection)
    tenant = providers.Singleton(Archive, tenants.acme.database)


def as_copy(path: str) -> Any:
    @containers.copy(Base)
    class Copy(Base):
        notes = SQLite(path)

    return Copy()


def as_subclass(path: str) -> Any:
    class Sub(Base):
        notes = SQLite(path)

    return Sub()


def as_instance(path: str) -> Any:
    container = Base()
    container.notes = SQLite(path)
    return container


@pytest.mark.parametrize("make", [as_copy, as_subclass, as_instance])
@pytest.mark.parametrize("file", ["notes.db", "other.db"])
def test_what_is_replaced_is_replaced_wherever_it_is_used(
    tmp_path: Path, make: Callable[[str], Any], file: str
) -> None:
    """Also by a database on the same file; nothing of the old one is opened."""
    container = make(file)
    container.config.from_dict({"notes": "notes.db", "tenants": {"acme": "acme.db"}})
    app = new_app(tmp_path, "app")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        init_app(app, container)
        notes = container.notes.database()
        assert container.archive().database is notes
        with app.app_context():
            assert container.repository().db is container.notes.connection()
        assert notes.file == tmp_path / file
        assert {each.name for each in tmp_path.glob("*.db")} == {file}
        shutdown(container)
        del container, notes
        gc.collect()


def test_what_cannot_be_replaced_is_told(tmp_path: Path) -> None:
    """Something else than a database has its place, or the old one is open."""
    container: Any = Base()
    container.config.from_dict({"notes": "notes.db", "tenants": {"acme": "acme.db"}})
    container.notes = providers.Object(None)
    with pytest.raises(ConfigurationError, match=r"^notes: another provider was put in its place"):
        init_app(new_app(tmp_path, "app"), container)
    shutdown(container)
