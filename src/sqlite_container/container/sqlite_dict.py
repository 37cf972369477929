"""``SQLiteDict``: databases whose names only the configuration knows, or only the app."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from dependency_injector import containers, errors, providers

from ..database.open_limit import OpenLimit
from ..errors import (
    ConfigurationError,
    Mistake,
    SQLiteContainerError,
    UnknownDatabase,
    did_you_mean,
    found,
)
from .providers import Settings, SQLite, see_through
from .settings import copied, named, path_of, place_of, value_of

if TYPE_CHECKING:
    from ..config import DatabaseConfig

Names: TypeAlias = "Callable[[str], object] | providers.Provider[Any] | None"
"""What tells whether there is a database of a name, or a provider of that."""


class SQLiteDict(providers.Container[Any]):
    """SQLite databases whose names only the configuration knows, or only the app.

    ``settings`` gives a mapping from names to settings as :class:`SQLite` takes them. In a
    ``path``, ``{name}`` stands for the database's name.

    With ``names``, ``settings`` are those of every database, and no name is in the
    configuration: ``names`` is a callable, or a provider of one, which is asked with a name
    whether there is such a database, each time that somebody asks for it.

    ``max_open`` bounds how many of the databases are open at the same time: the one that nobody
    has used for longest is closed, and opened again when it is asked for. If all of them are in
    use, opening another one blocks for at most its ``pool.timeout`` seconds, and then raises
    :class:`PoolTimeout`.

    Raises :class:`ConfigurationError` for a ``names`` or ``max_open`` that cannot be used.
    """

    def __init__(
        self, settings: Settings = None, *, names: Names = None, max_open: int | None = None
    ) -> None:
        inner = _Members(self)
        super().__init__(None, container=inner)  # type: ignore[arg-type]
        self.disable_async_mode()
        self._settings = settings
        self._exists = _checked_names(names)
        self._max_open = _checked_max_open(max_open)
        self._limit: OpenLimit | None = None
        self._members: dict[str, SQLite] = {}
        self._names: dict[SQLite, str] = {}
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
        twin._exists = copied(self._exists, memo)
        twin._max_open = self._max_open
        twin._declared = self._declared
        for name, member in providers.deepcopy(self._members, memo).items():
            twin._adopt(name, member)
        self._copy_parent(twin, memo)
        self._copy_overridings(twin, memo)
        return twin

    def declared(self) -> Iterator[tuple[str, SQLite]]:
        """The members that the container's class knows, each as this container's own."""
        return ((name, self._member(name)) for name in list(self._declared))

    def resolve_provider_name(self, provider: providers.Provider[Any]) -> str:
        """The name of a member."""
        if (name := self.name_of(provider)) is None:
            raise errors.Error(f"this provider is not in {self.path}")
        return name

    def name_of(self, member: Any) -> str | None:
        """Return the name of a member; None if it is none."""
        return self._names.get(member)

    def override(self, provider: Any) -> Any:
        """Override every database whose name another ``SQLiteDict`` has, and the names."""
        if not isinstance(provider, SQLiteDict):
            raise errors.Error(f"{self.path} can be overridden only by another SQLiteDict")
        for name in provider.names():
            self._member(name).override(provider._member(name))
        return providers.Provider.override(self, provider)

    def reset_last_overriding(self) -> None:
        """End the last override. Raises dependency-injector's ``Error`` if there is none."""
        ended = cast(SQLiteDict, self.last_overriding)
        providers.Provider.reset_last_overriding(self)
        for name, source in list(ended._members.items()):
            if name in self._members and source in self._members[name].overridden:
                self._members[name].reset_last_overriding()

    def reset_override(self) -> None:
        """End every override."""
        while self.overridden:
            self.reset_last_overriding()

    def names(self) -> list[str]:
        """The names that the configuration has now; with ``names``, those that were asked for.

        Raises :class:`ConfigurationError`.
        """
        overriding = self.last_overriding
        if isinstance(overriding, SQLiteDict):
            return overriding.names()
        if self._exists is not None:
            return list(self._members)
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

        Raises :class:`UnknownDatabase` if the configuration is there and does not have it, or if
        ``names`` says that there is none.
        """
        if not isinstance(name, str):
            raise self._no_name(name)
        if self._is_known(name):
            return self._member(name)
        raise UnknownDatabase(f"{self.path}: there is no database {name!r}")

    def _is_known(self, name: str) -> bool:
        if self._exists is not None or isinstance(self.last_overriding, SQLiteDict):
            is_of_a_class = isinstance(self.parent, type)  # while views are declared
            return is_of_a_class or name in self
        return name in self._members or not self.configured or name in self

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
        overriding = self.last_overriding
        if isinstance(overriding, SQLiteDict):
            return name in overriding
        if self._exists is None:
            return _good(name) and name in self._mapping()
        exists: Any = self._exists
        if providers.is_provider(exists):
            exists = exists()
        return _good(name) and bool(exists(name))

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
            near = did_you_mean(name, self.names()) if self._exists is None else ""
            raise AttributeError(f"{error}{near}") from None

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
        for each in (self._settings, self._exists):
            if providers.is_provider(each):
                yield cast("providers.Provider[Any]", each)

    def member_settings(self, name: str) -> object:
        """The settings of one database, ``{name}`` replaced. Raises :class:`ConfigurationError`."""
        if self._exists is not None:
            return named(value_of(self._settings, self.place), name, self.place)
        known = self._mapping()
        if name not in known:
            problem = f"nothing is set here{did_you_mean(name, list(map(str, known)))}"
            if name in _OF_ONE:
                problem += (
                    f". '{name}' is taken for a database's name: name the database before it, as in"
                    f" {self.path}.acme.{name}, or take all of them, as {self.path}.provider"
                )
            raise ConfigurationError([Mistake(f"{self.place}.{name}", problem)])
        return named(known[name], name, f"{self.place}.{name}")

    def declare(self, name: str) -> SQLite | None:
        """Return the database of a name that the app's own code spells out; None if there is none.

        ``names`` is not asked: it may need an app context, or a database.
        """
        if self._exists is not None and not isinstance(self.last_overriding, SQLiteDict):
            return self._member(name) if _good(name) else None
        return self[name] if self.configured and name in self else None

    def check_settings(self) -> Iterator[DatabaseConfig]:
        """Yield what can be known of the settings before anybody asks for a name.

        Raises :class:`ConfigurationError`.
        """
        from ..config import parse

        if self._exists is None:
            self.names()
            return
        one, other = (parse(self.member_settings(each), self.place) for each in ("a", "b"))
        if one.path == other.path and not one.in_memory:
            problem = f"{one.path!r} would be the file of every database; put '{{name}}' into it"
            raise ConfigurationError([Mistake(f"{self.place}.path", problem)])
        yield one

    def place_of_member(self, name: str) -> str:
        """Where the settings of one database stand in the configuration."""
        return self.place if self._exists is not None else f"{self.place}.{name}"

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
        if self._exists is not None:
            return list(self._members)
        return [name for name in self._mapping() if _good(name)]

    def _member(self, name: str) -> SQLite:
        member = self._members.get(name)
        if member is None:
            member = self._adopt(name, SQLite(_Lookup(self, name)))
        overriding = self.last_overriding
        if isinstance(overriding, SQLiteDict) and name in overriding:
            source = overriding._member(name)
            if source not in member.overridden:
                member.override(source)
        return member

    def _adopt(self, name: str, member: SQLite) -> SQLite:
        """Make it the database of that name, unless another thread has been faster."""
        self._names[member] = name
        member.assign_parent(self)
        if self._max_open is not None:
            self._limit = self._limit or OpenLimit(self._max_open)
            member.database.current.limit = self._limit
        return self._members.setdefault(name, member)

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
        return cast(SQLiteDict, self.owner).place_of_member(self.name)

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        return cast(SQLiteDict, self.owner).member_settings(self.name)


_NAME = re.compile(r"\w[\w.@+-]*")
_BAD_NAME = (
    "a name starts with a letter, digit or _, and has letters, digits and any of _.@+- in it"
)
_OF_ONE = ("connection", "reader", "database")


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


def _checked_names(names: Any) -> Names:
    if names is None or callable(names):
        return cast(Names, names)
    problem = f"expected a callable that tells whether there is such a database, {found(names)}"
    raise ConfigurationError([Mistake("SQLiteDict(names=…)", problem)])


def _checked_max_open(max_open: Any) -> int | None:
    is_number = isinstance(max_open, int) and not isinstance(max_open, bool)
    if max_open is None or (is_number and max_open > 0):
        return cast("int | None", max_open)
    problem = f"expected a whole number greater than 0, found {max_open!r}"
    raise ConfigurationError([Mistake("SQLiteDict(max_open=…)", problem)])
