"""``SQLiteDict``: databases whose names only the configuration knows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, cast

from dependency_injector import containers, errors, providers

from ..errors import (
    ConfigurationError,
    Mistake,
    SQLiteContainerError,
    UnknownDatabase,
    did_you_mean,
    found,
)
from .providers import Settings, SQLite, see_through
from .settings import copied, path_of, place_of, value_of

if TYPE_CHECKING:
    from ..engine.engine import Folders


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

    def __repr__(self) -> str:
        members = list(self._members.values())
        is_open = sum(each.database.initialized for each in members)
        return f"<SQLiteDict {self.path!r}, {is_open} open>"

    __str__ = __repr__

    def __deepcopy__(self, memo: Any = None) -> Any:
        if (known := memo.get(id(self))) is not None:
            return known
        twin = type(self)(None)
        memo[id(self)] = twin
        twin._settings = copied(self._settings, memo)
        twin._declared = self._declared
        twin._members.update(providers.deepcopy(self._members, memo))
        for member in twin._members.values():
            member.assign_parent(twin)
        self._copy_parent(twin, memo)
        self._copy_overridings(twin, memo)
        return twin

    def declared(self) -> Iterator[tuple[str, SQLite]]:
        """The members that the container's class knows, each as this container's own."""
        return ((name, self._member(name)) for name in list(self._declared))

    def resolve_provider_name(self, provider: providers.Provider[Any]) -> str:
        """The name of a member."""
        for name, member in list(self._members.items()):
            if member is provider:
                return name
        raise errors.Error(f"this provider is not in {self.path}")

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
        known = self._mapping()
        bad = [name for name in known if not _good(name)]
        mistakes = [Mistake(f"{self.place}.{name}", _why_bad(name)) for name in bad]
        if mistakes:
            raise ConfigurationError(mistakes)
        return list(known)

    def assign_parent(self, parent: Any) -> None:
        """Take a place in a container."""
        super().assign_parent(parent)
        see_through(parent)

    def __getitem__(self, name: str) -> SQLite:
        """The database of that name.

        Raises :class:`UnknownDatabase` if the configuration is there and does not have it.
        """
        if not isinstance(name, str):
            raise self._no_name(name)
        if name not in self._members and self.configured:
            known = self.names()
            if name not in known:
                raise UnknownDatabase(
                    f"{self.path}: there is no database {name!r}{did_you_mean(name, known)}"
                )
        return self._member(name)

    def _no_name(self, key: object) -> SQLiteContainerError:
        if providers.is_provider(key):
            problem = (
                f"the name of a database is expected, found the provider {key}; give SQLite(…) the"
                f" settings that it chooses, as in SQLite(config.{self.place}[config.which])"
            )
            return ConfigurationError([Mistake(self.place, problem)])
        return UnknownDatabase(
            f"{self.path}: there is no such database; its name, a text, is expected, {found(key)}"
        )

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
        return path_of(self)

    @property
    def place(self) -> str:
        """Where its settings stand in the configuration."""
        return place_of(self._settings) or self.path

    @property
    def configured(self) -> bool:
        """Whether its settings can be read already: views are wired before they are."""
        try:
            return value_of(self._settings, self.place) is not None
        except ConfigurationError:
            return False

    @property
    def related(self) -> Iterator[providers.Provider[Any]]:
        """One provider for each configured name; what is wrong with them is told elsewhere."""
        with suppress(ConfigurationError):
            if self.configured:
                self._set_members(self._good_names())
        yield from list(self._members.values())
        if providers.is_provider(self._settings):
            yield cast("providers.Provider[Any]", self._settings)

    def member_settings(self, name: str) -> object:
        """The settings of one database, ``{name}`` replaced. Raises :class:`ConfigurationError`."""
        known = self._mapping()
        if name not in known:
            problem = f"nothing is set here{did_you_mean(name, list(map(str, known)))}"
            if name in _OF_ONE:
                problem += (
                    f". '{name}' is taken for a database's name: name the database before it, as in"
                    f" {self.path}.acme.{name}, or take all of them, as {self.path}.provider"
                )
            raise ConfigurationError([Mistake(f"{self.place}.{name}", problem)])
        return _named(known[name], name, f"{self.place}.{name}")

    def _set_members(self, names: list[str]) -> None:
        """One for each name, and none for the ``a`` that wiring saw in ``a.b`` before."""
        for half in set(self._members) - set(self._declared) - set(names):
            if any(name.startswith(f"{half}.") for name in names):
                del self._members[half]
        for name in names:
            self._member(name)

    def _good_names(self) -> list[str]:
        overriding = self.last_overriding
        if isinstance(overriding, SQLiteDict):
            return overriding._good_names()
        return [name for name in self._mapping() if _good(name)]

    def _member(self, name: str) -> SQLite:
        if name not in self._members:
            member = SQLite(_Lookup(self, name))
            member.assign_parent(self)
            member.database.folders = self.folders
            self._members.setdefault(name, member)  # one of two threads is first
        return self._members[name]

    def _mapping(self) -> Mapping[str, Any]:
        place = self.place
        settings = value_of(self._settings, place)
        if not isinstance(settings, Mapping):
            problem = f"expected a mapping from names to settings, {found(settings)}"
            raise ConfigurationError([Mistake(place, problem)])
        return settings


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
        twin = type(self)(None, self.name)
        memo[id(self)] = twin
        twin.owner = providers.deepcopy(self.owner, memo)
        return twin

    @property
    def standing(self) -> str:
        """Where the settings stand in the configuration."""
        return f"{cast(SQLiteDict, self.owner).place}.{self.name}"

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        return cast(SQLiteDict, self.owner).member_settings(self.name)


_NAME = re.compile(r"\w[\w.@+-]*")
_BAD_NAME = (
    "a name starts with a letter, digit or _, and has letters, digits and any of _.@+- in it"
)
_OF_ONE = ("connection", "reader", "database")
_PLACEHOLDER = re.compile(r"(?<!\$)\{\s*(\w*)\s*\}")


def _good(name: object) -> bool:
    """Whether a name can stand in a path without leaving its folder."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _why_bad(name: object) -> str:
    kind = _KINDS.get(type(name))
    if kind is None:
        return _BAD_NAME
    return f"a name is a text, and YAML reads this one as {kind}; put it in quotes: '{name}'"


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "nothing",
    date: "a date",
    datetime: "a date",
}
"""What names may turn into without quotes."""


def _named(settings: Any, name: str, place: str) -> object:
    """The settings with ``{name}`` in their path replaced."""
    if isinstance(settings, str | PathLike):
        return _filled(settings, name, place)
    if hasattr(settings, "model_dump"):  # of pydantic
        settings = settings.model_dump(by_alias=True)
    is_mapping = isinstance(settings, Mapping)
    path = settings.get("path") if is_mapping else getattr(settings, "path", None)
    if not isinstance(path, str | PathLike):
        return settings
    filled = _filled(path, name, f"{place}.path")
    if is_mapping:
        return {**settings, "path": filled}
    return settings if filled == path else dataclasses.replace(settings, path=filled)


def _filled(path: str | PathLike[str], name: str, place: str) -> str | PathLike[str]:
    text = fspath(path)
    if "{" not in text:
        return path
    unknown = [each[0] for each in _PLACEHOLDER.finditer(text) if each[0] != "{name}"]
    if unknown:
        problem = (
            f"{unknown[0]} stands for nothing, {{name}} for the database's name; found {text!r}"
        )
        raise ConfigurationError([Mistake(place, problem)])
    return text.replace("{name}", name)
