"""How a container speaks of a database: ``SQLite``, and the three providers in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable
from os import PathLike
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast
from weakref import WeakKeyDictionary

from dependency_injector import containers, providers

from ..connection.connection import Connection
from ..database.database import Database, live
from ..engine.engine import Folders
from ..engine.identity import names_of
from ..errors import (
    ConfigurationError,
    DatabaseClosed,
    DatabaseOpenError,
    Mistake,
    did_you_mean,
)
from ..log import logged
from .scope import scopes
from .settings import copied, name_in, path_of, place_of, value_of

if TYPE_CHECKING:
    from ..config import DatabaseConfig

Settings: TypeAlias = (
    "providers.Provider[Any] | Mapping[str, Any] | str | PathLike[str] | DatabaseConfig | None"
)
"""A configuration option, a mapping, a path, or a :class:`DatabaseConfig`."""


class _Overridable:
    """What a provider that was overridden does when that ends: close what the other opened.

    A connection of it that is still out refuses further use and is reported.
    """

    def reset_last_overriding(self) -> None:
        provider: Any = super()
        ended = provider.last_overriding
        provider.reset_last_overriding()
        _close_overriding(ended)

    def reset_override(self) -> None:
        provider: Any = super()
        ended = provider.overridden
        provider.reset_override()
        for each in ended:
            _close_overriding(each)


def _close_overriding(ended: Any) -> None:
    if isinstance(ended, DatabaseProvider | ConnectionProvider) and not list(ended.overrides):
        database = ended.database if isinstance(ended, ConnectionProvider) else ended
        if database is not None:
            database.close(timeout=0)


folders_of: WeakKeyDictionary[Any, Folders] = WeakKeyDictionary()
"""Where the relative paths of a container's databases start, also of those that are added later."""
_opening: dict[tuple[int, object], DatabaseProvider] = {}
"""Which database opens a file at this moment, by its container and each name of the file."""


class DatabaseProvider(_Overridable, providers.Resource[Database]):
    """One :class:`Database`, the same object for ever; open while the resource is initialised."""

    def __init__(self, settings: Settings = None, **more: Any) -> None:
        from .. import config  # noqa: F401  (now, not in a thread: a fork amid an import is fatal)

        super().__init__(Database, settings, **more)
        self.disable_async_mode()
        self.owner: SQLite | None = None
        self.refusal: str | None = None
        self._database = Database(open_lazily=self._open)

    def __repr__(self) -> str:
        return f"<{self.name}.database>"

    __str__ = __repr__

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        twin = cast(Self, super().__deepcopy__(memo))
        twin.owner = copied(self.owner, memo)
        twin.disable_async_mode()
        return twin

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Database:
        database = self._database
        if database._pool is None:
            self._open()
        return database

    def _open(self) -> None:
        database = self._database
        database.name = self.name
        if self.refusal is not None:
            raise DatabaseClosed(f"database {self.name!r} is not opened any more: {self.refusal}")
        self._see_through()
        config = self.config()
        folders = self.start_of_paths()
        if config.in_memory:
            database.open(config, folders)
            return
        file = folders.data / config.path
        with self._alone_on(file):
            self._refuse_twin(file)
            database.open(config, folders)

    @contextmanager
    def _alone_on(self, file: Path) -> Iterator[None]:
        """Within it, no other database of the container may open the same file."""
        outermost = id([self.owner, *_above(self.owner)][-1])
        keys = [(outermost, name) for name in names_of(file)]
        try:
            for key in keys:
                first = _opening.setdefault(key, self)  # in one step, whatever threads do
                if first is not self and first.owner is not None:
                    raise self._is_twin(file, first)
            yield
        finally:
            for key in keys:
                if _opening.get(key) is self:
                    _opening.pop(key, None)

    def _see_through(self) -> None:
        """Let no container that this database stands in leave it open."""
        overridden = [each.owner for each in self.overrides if isinstance(each, DatabaseProvider)]
        for owner in (self.owner, *overridden):
            for each in _above(owner):
                see_through(each)

    def _refuse_twin(self, file: Path) -> None:
        """Two databases of one container on the same file are a mistake in the settings."""
        same = live.on(names_of(file))
        for provider in _all_with(self.owner) if same and self.owner is not None else ():
            if provider is not self and provider.current in same:
                raise self._is_twin(file, provider)

    def _is_twin(self, file: Path, other: DatabaseProvider) -> DatabaseOpenError:
        return DatabaseOpenError(
            f"database {self.name!r} ({file}): database {other.name!r} of the same container has"
            f" this file open; look at {self.place}.path"
        )

    def start_of_paths(self) -> Folders:
        """Where its relative paths start: as an app has said, or in the current folder."""
        overridden = [each.owner for each in self.overrides if isinstance(each, DatabaseProvider)]
        return start_of_paths(self.owner, *overridden)

    @property
    def name(self) -> str:
        """How the container calls the database, such as ``notes`` or ``tenants.acme``."""
        return "database" if self.owner is None else self.owner.path

    @property
    def current(self) -> Database:
        """The database, open or not."""
        return self._database

    @property
    def initialized(self) -> bool:
        """Whether it is open."""
        return not self._database.closed

    def config(self) -> DatabaseConfig:
        """The checked settings. Raises :class:`ConfigurationError`; opens nothing."""
        from ..config import parse

        return parse(self._given(), self.place)

    def readable(self) -> tuple[str | None, str | None]:
        """The path, and the schema's, each if it can be read, whatever else is wrong."""
        from ..config import readable

        try:
            return readable(self._given())
        except ConfigurationError:
            return None, None

    def _given(self) -> object:
        """The settings as they were given, those beside them included."""
        from ..config import extended

        settings = value_of(self.args[0], self.place)
        more = {
            name: value_of(value, place_of(value) or f"{self.place}.{name}")
            for name, value in self.kwargs.items()
        }
        return extended(settings, more)

    @property
    def place(self) -> str:
        """Where its settings stand in the configuration, such as ``databases.notes``."""
        return place_of(self.args[0]) or self.name

    def shutdown(self) -> None:
        """Close it. A failure is logged, so that the container goes on with the next."""
        with logged("database %r could not be closed", self.name):
            self.close()

    def close(self, timeout: float | None = None) -> None:
        """Close it, like :meth:`Database.close`."""
        self._database.close(timeout)


class ConnectionProvider(_Overridable, providers.Provider[Connection]):
    """The connection of the current app context to one database, the same for all who ask."""

    def __init__(
        self, database: DatabaseProvider | None = None, *, read_only: bool = False
    ) -> None:
        super().__init__()
        self.disable_async_mode()
        self.database = database
        self.read_only = read_only

    def __repr__(self) -> str:
        name = "database" if self.database is None else self.database.name
        return f"<{name}.{'reader' if self.read_only else 'connection'}>"

    __str__ = __repr__

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        twin = type(self)(read_only=self.read_only)
        memo[id(self)] = twin
        twin.database = providers.deepcopy(self.database, memo)
        self._copy_overridings(twin, memo)
        return twin

    @property
    def related(self) -> Iterator[providers.Provider[Any]]:
        """The database, so that the container finds it wherever a connection is injected."""
        if self.database is not None:
            yield self.database
        yield from super().related

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Connection:
        scope = scopes.find()
        database = self.database()  # type: ignore[misc]
        connection = (scope.readers if self.read_only else scope.connections).get(database)
        if connection is None or connection.borrower is not scope:  # given back by close()
            connection = scope.lend(database, read_only=self.read_only)
        return connection


_MEMBERS = ("connection", "database", "reader")


class SQLite(providers.Container[Any]):
    """One SQLite database of a container.

    ``settings`` is a configuration option, a mapping, a path, or a :class:`DatabaseConfig`.
    What is given by name, as in ``SQLite("notes.db", busy_timeout=1)``, comes before what
    stands in them.
    """

    database: DatabaseProvider
    connection: ConnectionProvider
    reader: ConnectionProvider

    def __init__(self, settings: Settings = None, **more: Any) -> None:
        self.called = ""  # by the container that it stands in, or stood in when it was copied
        if settings is None and not more:  # dependency-injector makes an empty one before it copies
            super().__init__(None)  # type: ignore[arg-type]
            return
        inner = containers.DynamicContainer()
        inner.database = DatabaseProvider(settings, **more)
        inner.connection = ConnectionProvider(inner.database)
        inner.reader = ConnectionProvider(inner.database, read_only=True)
        super().__init__(None, container=inner)  # type: ignore[arg-type]
        inner.assign_parent(self)
        inner.database.owner = self
        self.disable_async_mode()

    def __repr__(self) -> str:
        if self.container is None:
            return "<SQLite without settings>"
        return f"<SQLite {self.path!r}, {self.database.current.state}>"

    __str__ = __repr__

    def __getattr__(self, name: str) -> Any:
        if self.container is None and not name.startswith("__"):
            raise self._without_settings()
        try:
            return super().__getattr__(name)
        except AttributeError:
            near = "" if name.startswith("_") else did_you_mean(name, _MEMBERS)
            raise AttributeError(f"database {self.path!r} has no {name!r}{near}") from None

    def assign_parent(self, parent: Any) -> None:
        """Take a place in a container. Raises :class:`ConfigurationError` without settings."""
        super().assign_parent(parent)
        if self.container is None:
            raise self._without_settings()
        self.called = name_in(parent, self) or self.called
        see_through(parent)

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        twin: Any = super().__deepcopy__(memo)
        twin.called = self.called
        return twin

    @property
    def path(self) -> str:
        """Where it stands in its container: ``notes``, ``core.notes`` or ``tenants.acme``."""
        return path_of(self)

    def _without_settings(self) -> ConfigurationError:
        problem = (
            "SQLite(…) needs settings, and got none; give a configuration option such as"
            " config.databases.notes, a mapping, or a path"
        )
        return ConfigurationError([Mistake(self.path, problem)])


def start_of_paths(*providers: Any) -> Folders:
    """Where relative paths start in the container that one of these providers stands in."""
    for each in (each for provider in providers for each in (provider, *_above(provider))):
        if each in folders_of:
            return folders_of[each]
    return Folders.current()


def outermost(provider: Any) -> Any:
    """The instance that a provider stands in, with all the others around it; itself, if in none."""
    return [each for each in (provider, *_above(provider)) if not isinstance(each, type)][-1]


def see_through(container: Any) -> None:
    """Have ``container.shutdown_resources()`` close every database, whatever fails before.

    dependency-injector's own stops at the first resource that fails.
    """
    is_instance = isinstance(container, containers.DynamicContainer)
    if is_instance and "shutdown_resources" not in vars(container):
        container.shutdown_resources = MethodType(_shutdown_resources, container)


def _shutdown_resources(container: Any, resource_type: Any = providers.BaseResource) -> Any:
    """Shutdown all container resources. Raises what failed first, when all are shut down."""
    attempt = partial(type(container).shutdown_resources, container, resource_type)
    # A resource that fails is not initialized any more: the next attempt goes on after it.
    attempts = [attempt] * len(list(container.traverse(types=[providers.BaseResource])))
    close = partial(_close_every, container, resource_type)
    try:
        result = attempt()
    except Exception:
        for each in attempts:
            with logged(_ANOTHER):
                each()
                break
        close()
        raise
    return _awaited(result, attempts, close) if isawaitable(result) else result


async def _awaited(result: Any, attempts: list[Any], close: Callable[[], None]) -> Any:
    try:
        return await result
    except Exception:
        for each in attempts:
            with logged(_ANOTHER):
                await each()
                break
        close()
        raise


_ANOTHER = "another resource could not be shut down"


def _close_every(container: Any, resource_type: Any) -> None:
    for provider in container.traverse(types=[DatabaseProvider]):
        if isinstance(provider, resource_type):
            provider.shutdown()


def reaches_database(provider: providers.Provider[Any]) -> bool:
    """Whether a database is among what this provider is made of."""
    return next(provider.traverse(types=[DatabaseProvider]), None) is not None or isinstance(
        provider, DatabaseProvider
    )


def _all_with(provider: Any) -> Iterator[DatabaseProvider]:
    """Every database of the container that a provider stands in."""
    outermost = [provider, *_above(provider)][-1]
    yield from outermost.traverse(types=[DatabaseProvider])


def _above(provider: Any) -> Iterator[Any]:
    """The containers that a provider stands in, the innermost first."""
    while (provider := getattr(provider, "parent", None)) is not None:
        yield provider
