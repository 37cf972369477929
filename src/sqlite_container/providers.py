"""How a container speaks of databases: ``SQLite`` for one, ``SQLiteDict`` for many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from dependency_injector import containers, errors, providers

from . import report
from .connection import Connection
from .database import Database
from .engine import Folders
from .errors import (
    ConfigurationError,
    DatabaseClosed,
    DatabaseOpenError,
    Mistake,
    UnknownDatabase,
)
from .scope import current_scope
from .words import did_you_mean

if TYPE_CHECKING:
    from .config import DatabaseConfig

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


class DatabaseProvider(_Overridable, providers.Resource[Database]):
    """One :class:`Database`, the same object for ever; open while the resource is initialised."""

    def __init__(self, settings: Settings = None) -> None:
        super().__init__(Database, settings)
        self.disable_async_mode()
        self.owner: SQLite | None = None
        self.folders: Folders | None = None
        self.refusal: str | None = None
        self._database = Database(open_lazily=self._open)

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        copied = cast(Self, super().__deepcopy__(memo))
        copied.owner = _copied(self.owner, memo)
        copied.disable_async_mode()
        return copied

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Database:
        database = self._database
        if database.closed:
            self._open()
        return database

    def _open(self) -> None:
        database = self._database
        database.name = self.name
        if self.refusal is not None:
            raise DatabaseClosed(f"database {self.name!r} is not opened any more: {self.refusal}")
        config, folders = self.config(), self.folders or self._folders_of_overridden()
        self._refuse_twin(config, folders or Folders.current())
        database.open(config, folders)

    def _refuse_twin(self, config: DatabaseConfig, folders: Folders) -> None:
        """Two databases of one container on the same file are a mistake in the settings."""
        file = folders.data / config.path
        for provider in () if config.in_memory or self.owner is None else _all_with(self.owner):
            engine = provider.current.engine
            if provider is not self and engine is not None and engine.is_on(file):
                raise DatabaseOpenError(
                    f"database {self.name!r} ({file}): database {provider.name!r} of the same"
                    f" container has this file open; look at {self.place}.path"
                )

    def _folders_of_overridden(self) -> Folders | None:
        """Where the paths start of the database that this one overrides."""
        for provider in self.overrides:
            if isinstance(provider, DatabaseProvider) and provider.folders is not None:
                return provider.folders
        return None

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
        from .config import parse

        return parse(_value(self.args[0], self.place), self.place)

    @property
    def place(self) -> str:
        """Where its settings stand in the configuration, such as ``databases.notes``."""
        return _place(self.args[0]) or self.name

    def shutdown(self) -> None:
        """Close it. A failure is logged, so that the container goes on with the next."""
        try:
            self.close()
        except Exception:
            report.logger.exception("database %r could not be closed", self.name)

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

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        copied = type(self)(read_only=self.read_only)
        memo[id(self)] = copied
        copied.database = providers.deepcopy(self.database, memo)
        self._copy_overridings(copied, memo)
        return copied

    @property
    def related(self) -> Iterator[providers.Provider[Any]]:
        """The database, so that the container finds it wherever a connection is injected."""
        if self.database is not None:
            yield self.database
        yield from super().related

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Connection:
        scope = current_scope()
        database = self.database()  # type: ignore[misc]
        connection = (scope.readers if self.read_only else scope.connections).get(database)
        if connection is None:
            connection = scope.lend(database, read_only=self.read_only)
        return connection


class SQLite(providers.Container[Any]):
    """One SQLite database of a container.

    ``settings`` is a configuration option, a mapping, a path, or a :class:`DatabaseConfig`.
    """

    database: DatabaseProvider
    connection: ConnectionProvider
    reader: ConnectionProvider

    def __init__(self, settings: Settings = None) -> None:
        if settings is None:  # dependency-injector makes an empty one before it copies
            super().__init__(None)  # type: ignore[arg-type]
            return
        inner = containers.DynamicContainer()
        inner.database = DatabaseProvider(settings)
        inner.connection = ConnectionProvider(inner.database)
        inner.reader = ConnectionProvider(inner.database, read_only=True)
        super().__init__(None, container=inner)  # type: ignore[arg-type]
        inner.assign_parent(self)
        inner.database.owner = self
        self.disable_async_mode()

    @property
    def path(self) -> str:
        """Where it stands in its container: ``notes``, ``core.notes`` or ``tenants.acme``."""
        return _path_of(self)


class SQLiteDict(providers.Container[Any]):
    """SQLite databases whose names only the configuration knows.

    ``settings`` gives a mapping from names to settings as :class:`SQLite` takes them. In a
    ``path``, ``{name}`` stands for the database's name.
    """

    def __init__(self, settings: Settings = None) -> None:
        inner = _Members(self)
        super().__init__(None, container=inner)  # type: ignore[arg-type]
        self.disable_async_mode()
        self.folders: Folders | None = None
        self._settings = settings
        self._members: dict[str, SQLite] = {}
        self._declared = self._members

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        copied = type(self)(None)
        memo[id(self)] = copied
        copied._settings = _copied(self._settings, memo)
        copied._declared = self._declared
        copied._members.update(providers.deepcopy(self._members, memo))
        for member in copied._members.values():
            member.assign_parent(copied)
        self._copy_parent(copied, memo)
        self._copy_overridings(copied, memo)
        return copied

    def declared(self) -> Iterator[tuple[str, SQLite]]:
        """The members that the container's class knows, each as this container's own."""
        return ((name, self._member(name)) for name in list(self._declared))

    def resolve_provider_name(self, provider: providers.Provider[Any]) -> str:
        """The name of a member."""
        for name, member in list(self._members.items()):
            if member is provider:
                return name
        raise errors.Error(f"{provider} is not in {self.path}")

    def override(self, provider: Any) -> Any:
        """Override every database whose name another ``SQLiteDict`` has, and the names."""
        if not isinstance(provider, SQLiteDict):
            raise errors.Error(f"{self.path} can be overridden only by another SQLiteDict")
        for name in provider.names():
            self._member(name).override(provider[name])
        return providers.Provider.override(self, provider)

    def reset_last_overriding(self) -> None:
        """End the last override. Raises dependency-injector's ``Error`` if there is none."""
        ended = self.last_overriding
        providers.Provider.reset_last_overriding(self)
        for name in cast(SQLiteDict, ended).names():
            self._member(name).reset_last_overriding()

    def reset_override(self) -> None:
        """End every override."""
        while self.overridden:
            self.reset_last_overriding()

    def names(self) -> list[str]:
        """The names that the configuration has now. Raises :class:`ConfigurationError`."""
        overriding = self.last_overriding
        if isinstance(overriding, SQLiteDict):
            return overriding.names()
        return list(self._mapping())

    def __getitem__(self, name: str) -> SQLite:
        """The database of that name.

        Raises :class:`UnknownDatabase` if the configuration is there and does not have it.
        """
        if name not in self._members and self.configured:
            known = self.names()
            if name not in known:
                raise UnknownDatabase(
                    f"{self.path}: there is no database {name!r}{did_you_mean(name, known)}"
                )
        return self._member(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __bool__(self) -> bool:
        return True  # as every provider; the configuration may not be there yet

    def __len__(self) -> int:
        return len(self.names())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except UnknownDatabase as error:
            raise AttributeError(str(error)) from None

    @property
    def path(self) -> str:
        """Where it stands in its container."""
        return _path_of(self)

    @property
    def place(self) -> str:
        """Where its settings stand in the configuration."""
        return _place(self._settings) or self.path

    @property
    def configured(self) -> bool:
        """Whether its settings can be read already: views are wired before they are."""
        try:
            return _value(self._settings, self.place) is not None
        except ConfigurationError:
            return False

    @property
    def related(self) -> Iterator[providers.Provider[Any]]:
        """One provider for each configured name; what is wrong with them is told elsewhere."""
        with suppress(ConfigurationError):
            for name in self.names() if self.configured else ():
                self._member(name)
        yield from list(self._members.values())
        if providers.is_provider(self._settings):
            yield cast("providers.Provider[Any]", self._settings)

    def member_settings(self, name: str) -> object:
        """The settings of one database, ``{name}`` replaced. Raises :class:`ConfigurationError`."""
        known = self._mapping()
        if name not in known:
            problem = f"nothing is set here{did_you_mean(name, list(known))}"
            raise ConfigurationError([Mistake(f"{self.place}.{name}", problem)])
        return _named(known[name], name)

    def _member(self, name: str) -> SQLite:
        if name not in self._members:
            member = SQLite(_Lookup(self, name))
            member.assign_parent(self)
            member.database.folders = self.folders
            self._members.setdefault(name, member)  # one of two threads is first
        return self._members[name]

    def _mapping(self) -> Mapping[str, Any]:
        place = self.place
        settings = _value(self._settings, place)
        if not isinstance(settings, Mapping):
            problem = f"expected a mapping from names to settings, found {settings!r}"
            raise ConfigurationError([Mistake(place, problem)])
        mistakes = [Mistake(f"{place}.{name}", _BAD_NAME) for name in settings if not _good(name)]
        if mistakes:
            raise ConfigurationError(mistakes)
        return settings


def reaches_database(provider: providers.Provider[Any]) -> bool:
    """Whether a database is among what this provider is made of."""
    return next(provider.traverse(types=[DatabaseProvider]), None) is not None or isinstance(
        provider, DatabaseProvider
    )


class _Members(containers.DynamicContainer):
    """The inner container of a ``SQLiteDict``, as far as wiring looks into it.

    Wiring pairs the providers of a container with those of its class, by name, and fails where
    a name is missing on either side: so both show the names that the class knows.
    """

    def __init__(self, owner: SQLiteDict | None = None) -> None:
        super().__init__()
        self.assign_parent(owner)

    @property
    def providers(self) -> dict[str, providers.Provider[Any]]:
        """One provider for each name that was used on the class."""
        owner = cast("SQLiteDict | None", self.parent)
        return {} if owner is None else dict(owner.declared())

    @providers.setter
    def providers(self, _: object) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The base class sets an empty dictionary; there is nothing to keep."""


class _Lookup(providers.Provider[Any]):
    """The settings of one member of a ``SQLiteDict``."""

    def __init__(self, owner: SQLiteDict | None = None, name: str = "") -> None:
        super().__init__()
        self.disable_async_mode()
        self.owner = owner
        self.name = name

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        copied = type(self)(None, self.name)
        memo[id(self)] = copied
        copied.owner = providers.deepcopy(self.owner, memo)
        return copied

    @property
    def place(self) -> str:
        """Where the settings stand in the configuration."""
        return f"{cast(SQLiteDict, self.owner).place}.{self.name}"

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        return cast(SQLiteDict, self.owner).member_settings(self.name)


_NAME = re.compile(r"\w[\w.@+-]*")
_BAD_NAME = "a name starts with a letter or digit, and has letters, digits and any of _.@+- in it"


def _good(name: object) -> bool:
    """Whether a name can stand in a path without leaving its folder."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _named(settings: object, name: str) -> object:
    """The settings with ``{name}`` in their path replaced."""
    if isinstance(settings, str):
        return settings.replace("{name}", name)
    if isinstance(settings, Mapping) and isinstance(settings.get("path"), str):
        return {**settings, "path": settings["path"].replace("{name}", name)}
    return settings


def _place(settings: object) -> str | None:
    """Where settings stand in the configuration, if that is where they come from."""
    if isinstance(settings, providers.TypedConfigurationOption):
        settings = settings.option
    if isinstance(settings, providers.ConfigurationOption):
        return str(settings.get_name().partition(".")[2])
    return settings.place if isinstance(settings, _Lookup) else None


def _value(settings: object, place: str) -> object:
    if not providers.is_provider(settings):
        return settings
    try:
        return cast("providers.Provider[Any]", settings)()
    except errors.Error as error:
        raise ConfigurationError([Mistake(place, f"nothing is set here ({error})")]) from error


def _copied(settings: Any, memo: dict[int, Any]) -> Any:
    return providers.deepcopy(settings, memo) if providers.is_provider(settings) else settings


def _all_with(provider: Any) -> Iterator[DatabaseProvider]:
    """Every database of the container that a provider stands in."""
    while (parent := getattr(provider, "parent", None)) is not None:
        provider = parent
    yield from provider.traverse(types=[DatabaseProvider])


def _path_of(provider: SQLite | SQLiteDict) -> str:
    parent: Any = provider.parent
    if parent is None:
        return "database"
    try:
        name = str(parent.resolve_provider_name(provider))
    except errors.Error:
        return "database"
    above = parent if isinstance(parent, SQLiteDict) else getattr(parent, "parent", None)
    return f"{_path_of_any(above)}.{name}" if above is not None else name


def _path_of_any(provider: Any) -> str:
    return provider.path if isinstance(provider, SQLiteDict) else _path_of(provider)
