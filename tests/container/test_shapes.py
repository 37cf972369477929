"""Whatever shape a configuration has: an error with its place, or a database."""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dependency_injector import containers, providers
from hypothesis import given, settings
from hypothesis import strategies as st

from common.shop import new_app
from sqlite_container import (
    ConfigurationError,
    DatabaseConfig,
    DatabaseOpenError,
    Mistake,
    PoolConfig,
    SQLite,
    SQLiteDict,
    UnknownDatabase,
    shutdown,
)
from sqlite_container.flask import init_app


class Strict(containers.DeclarativeContainer):
    config = providers.Configuration(strict=True)
    notes = SQLite(config.databases.notes)
    tenants = SQLiteDict(config.databases.tenants)


class Lenient(containers.DeclarativeContainer):
    config = providers.Configuration()
    notes = SQLite(config.databases.notes)
    tenants = SQLiteDict(config.databases.tenants)


def made(kind: Any, values: Mapping[str, Any]) -> Any:
    """A container with this configuration."""
    container: Any = kind()
    container.config.from_dict(dict(values))
    return container


@pytest.fixture
def close(tmp_path: Path) -> Iterator[Callable[[Any], Any]]:
    """Give a container to an app, and shut it down in the end."""
    with contextlib.ExitStack() as stack:

        def start(container: Any) -> Any:
            stack.callback(shutdown, container)
            init_app(new_app(tmp_path, "one"), container)
            return container

        yield start


def places(call: Callable[[], object]) -> dict[str, str]:
    """Each mistake by its place."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    return {each.place: each.problem for each in caught.value.mistakes}


# -- sections that are no mappings -------------------------------------------------------


@pytest.mark.parametrize("kind", [Strict, Lenient])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("databases:", "a mapping is expected in 'databases', found nothing"),
        ("databases: text", "found 'text'"),
        ("databases: [notes, tenants]", "found ['notes', 'tenants']"),
        ("databases: 5", "found 5"),
        ("databases: 2024-01-01", "found datetime.date(2024, 1, 1)"),
        ("databases: no", "found False"),
    ],
)
def test_a_section_that_is_no_mapping(tmp_path: Path, kind: Any, value: str, said: str) -> None:
    """At `init_app` and at use the error names the setting, the section, and what is there."""
    container = made(kind, yaml.safe_load(value))
    found = places(lambda: init_app(new_app(tmp_path, "one"), container))
    assert set(found) == {"databases.notes", "databases.tenants"}
    assert all(said in problem for problem in found.values())
    for use in (
        container.notes.database,
        container.tenants.names,
        container.tenants["acme"].database,
    ):
        (problem,) = places(use).values()
        assert said in problem


def test_a_provider_of_settings_that_fails_is_told_with_its_place(tmp_path: Path) -> None:
    """Settings may come from any provider, and what that raises is no puzzle."""

    def fail() -> object:
        raise AttributeError("mine")

    class Broken(containers.DeclarativeContainer):
        config = providers.Configuration()
        notes = SQLite(providers.Callable(fail))
        tenants = SQLiteDict(providers.Callable(fail))
        typed = SQLite(config.typed.as_(int))

    container = made(Broken, {"typed": "x"})
    found = places(lambda: init_app(new_app(tmp_path, "one"), container))
    assert found["notes"] == found["tenants"] == "this cannot be read: AttributeError: mine"
    assert found["typed"].startswith("this cannot be read: ValueError")
    assert places(container.tenants["acme"].database) == {"tenants": found["tenants"]}


# -- names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "quoted"),
    [
        ("1001", "a number", "'1001'"),
        ("1.5", "a number", "'1.5'"),
        ("0x10", "a number", "'16'"),
        ("yes", "true or false", "'True'"),
        ("off", "true or false", "'False'"),
        ("null", "nothing", "'None'"),
        ("2024-01-01", "a date", "'2024-01-01'"),
        ("2024-01-01 10:00:00", "a date", "'2024-01-01 10:00:00'"),
    ],
)
def test_a_name_that_yaml_reads_as_something_else(
    tmp_path: Path, name: str, kind: str, quoted: str
) -> None:
    """It is told to be put in quotes; what is wrong with a text is told as ever."""
    text = f"databases: {{notes: ':memory:', tenants: {{{name}: 'x.db', '../x': 'y.db'}}}}"
    container = made(Strict, yaml.safe_load(text))
    found = places(lambda: init_app(new_app(tmp_path, "one"), container))
    (said,) = (each for each in found.values() if "quotes" in each)
    assert f"YAML reads this one as {kind}; put it in quotes: {quoted}" in said
    assert "letters, digits" in found["databases.tenants.../x"]
    assert places(container.tenants.names) == found


KEYS: list[object] = [
    2024,
    None,
    True,
    1.5,
    uuid.UUID(int=7),
    b"acme",
    dt.date(2024, 1, 1),
    ["acme"],
    {},
    (),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.parametrize("known", [{"acme": "{name}.db", "2024": "{name}.db"}, {}])
def test_a_key_that_is_no_text_is_an_unknown_database(
    close: Callable[[Any], Any], key: Any, known: dict[str, str]
) -> None:
    """So that a view answers it with 404, as any other name that is unknown."""
    container = close(made(Strict, {"databases": {"notes": ":memory:", "tenants": known}}))
    with pytest.raises(UnknownDatabase, match=r"^tenants: there is no such database") as caught:
        container.tenants[key]
    assert repr(key) in str(caught.value)
    assert isinstance(caught.value, KeyError)
    assert key not in container.tenants


def test_a_key_that_is_no_text_before_there_is_a_configuration() -> None:
    """A mistake in the class of a container is told where it stands."""
    with pytest.raises(UnknownDatabase):
        SQLiteDict(providers.Configuration().tenants)[5]  # type: ignore[index]


def test_a_key_that_is_a_provider_is_refused_with_the_cure(
    close: Callable[[Any], Any], tmp_path: Path
) -> None:
    """`tenants[config.which]` would have to be another provider each time it is asked."""
    config = providers.Configuration(strict=True)
    tenants: Any = SQLiteDict(config.tenants)
    found = places(lambda: tenants[config.which])
    assert "SQLite(config.tenants[config.which])" in found["tenants"]

    class Chosen(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        chosen = SQLite(config.tenants[config.which])

    values: dict[str, Any] = {"tenants": {"acme": str(tmp_path / "acme.db")}, "which": "acme"}
    container = close(made(Chosen, values))
    assert container.chosen.database().file == tmp_path / "acme.db"
    for which in (None, 5, "acne"):
        with pytest.raises(ConfigurationError):
            init_app(new_app(tmp_path, "two"), made(Chosen, values | {"which": which}))


# -- settings by name --------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "a.db",
        Path("a.db"),
        {"path": "a.db", "busy_timeout": 9},
        DatabaseConfig(path="a.db", busy_timeout=9),
    ],
)
def test_settings_may_be_given_by_name(given: Any) -> None:
    """They come before what stands in the settings, and the others stay."""
    container: Any = containers.DynamicContainer()
    container.notes = SQLite(given, busy_timeout=3, pool={"max_size": 2})
    expected = DatabaseConfig(path="a.db", busy_timeout=3, pool=PoolConfig(max_size=2))
    assert container.notes.database.config() == expected


def test_settings_by_name_beside_an_option(tmp_path: Path) -> None:
    """Each container has its own; a value may be an option as well, and a path may be given so."""

    class Named(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        notes = SQLite(config.databases.notes, busy_timeout=config.patience, mode="rw")
        other = SQLite(path=":memory:", synchronous="full")

    one = made(Named, {"databases": {"notes": {"path": "1.db", "busy_timeout": 9}}, "patience": 1})
    two = made(Named, {"databases": {"notes": "2.db"}, "patience": 2})
    assert one.notes.database.config() == DatabaseConfig(path="1.db", busy_timeout=1, mode="rw")
    assert two.notes.database.config() == DatabaseConfig(path="2.db", busy_timeout=2, mode="rw")
    assert one.other.database.config() == DatabaseConfig(path=":memory:", synchronous="full")
    wrong = made(Named, {"databases": {"notes": {"path": "1.db"}}, "patience": "long"})
    assert set(places(lambda: init_app(new_app(tmp_path, "one"), wrong))) == {
        "databases.notes.busy_timeout"
    }
    missing = made(Named, {"databases": {"notes": "1.db"}, "patence": 1})
    found = places(lambda: init_app(new_app(tmp_path, "one"), missing))
    assert "did you mean 'patence'?" in found["patience"]


@pytest.mark.parametrize(
    ("make", "place", "said"),
    [
        (lambda: SQLite("a.db", bussy_timeout=3), "notes.bussy_timeout", "'busy_timeout'"),
        (lambda: SQLite("a.db", busy_timeout=5000), "notes.busy_timeout", "write 5"),
        (lambda: SQLite(mode="ro"), "notes.path", "required"),
        (lambda: SQLite(5, mode="ro"), "notes", "found 5"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_in_a_setting_by_name(
    tmp_path: Path, make: Callable[[], SQLite], place: str, said: str
) -> None:
    """It has the place that it would have among the others."""
    container: Any = containers.DynamicContainer()
    container.notes = make()
    found = places(lambda: init_app(new_app(tmp_path, "one"), container))
    assert said in found[place]


# -- what is shown ---------------------------------------------------------------------


def test_providers_say_what_they_are(close: Callable[[Any], Any], tmp_path: Path) -> None:
    """The class's, the container's own, those of a `SQLiteDict`, and one without settings."""
    assert repr(Strict.notes) == str(Strict.notes) == "<SQLite 'notes', closed>"
    values = {"notes": str(tmp_path / "n.db"), "tenants": {"acme": ":memory:", "wonka": "w.db"}}
    container = close(made(Strict, {"databases": values}))
    assert repr(container.tenants) == "<SQLiteDict 'tenants', 0 open>"
    container.notes.database()
    container.tenants["acme"].database()
    assert repr(container.notes) == "<SQLite 'notes', 0 of 10 connections out>"
    assert repr(container.tenants) == str(container.tenants) == "<SQLiteDict 'tenants', 1 open>"
    assert repr(container.tenants["acme"]) == "<SQLite 'tenants.acme', 0 of 10 connections out>"
    assert repr(SQLite()) == "<SQLite without settings>"
    container.notes.database().close()
    with pytest.raises(Exception, match=r"opens it again: container\.notes\.database\(\)"):
        container.notes.database.current.stats()


def test_a_provider_that_was_replaced_can_be_shown() -> None:
    """It is in no container any more, and has no name there."""

    class Base(containers.DeclarativeContainer):
        notes = SQLite("base.db")
        core = providers.Container(Strict)
        tenants = SQLiteDict({"acme": "{name}.db"})

    notes, member = Base.notes, Base.tenants["acme"]

    @containers.override(Base)
    class Other(containers.DeclarativeContainer):
        notes = SQLite("other.db")

    container: Any = Base()
    own, container.notes = container.notes, SQLite("third.db")
    assert {repr(notes), repr(own)} <= {"<SQLite 'database', closed>", "<SQLite 'notes', closed>"}
    assert repr(member) == "<SQLite 'tenants.acme', closed>"
    assert repr(container.core.notes) == "<SQLite 'core.notes', closed>"


# -- every shape ------------------------------------------------------------------------

texts = st.one_of(
    st.sampled_from([":memory:", "x.db", "{name}.db", "wal", "off", "sqlite3.Row", "\ud800", ""]),
    st.text(alphabet="ab.:{}~$é\0", max_size=6),
)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    texts,
)
known_names = st.sampled_from(
    ["notes", "tenants", "acme", "path", "mode", "schema", "pool", "pragmas", "journal_mode"]
)
names: st.SearchStrategy[Any] = st.one_of(known_names, known_names, scalars)
shapes: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=8,
)
ENOUGH = (ConfigurationError, DatabaseOpenError)
"""What a database may be refused with: a wrong setting, or a file that cannot be there."""


def use_all(container: Any, key: Any) -> None:
    """Use what a program uses, whatever is wrong with it."""
    with contextlib.suppress(*ENOUGH):
        container.notes.database().check()
    with contextlib.suppress(*ENOUGH, UnknownDatabase):
        container.tenants[key].database().check()
    with contextlib.suppress(ConfigurationError):
        for name in container.tenants.names():
            with contextlib.suppress(*ENOUGH):
                container.tenants[name].database().check()


@pytest.mark.parametrize("kind", [Strict, Lenient])
def test_whatever_yaml_gives_is_understood_or_told_with_its_place(kind: Any) -> None:
    """No shape ends in an error of Python's own, at `init_app` or at use."""

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(
        st.one_of(
            shapes,
            st.fixed_dictionaries({"notes": shapes, "tenants": shapes}),
            st.fixed_dictionaries(
                {
                    "notes": st.dictionaries(names, shapes, max_size=4),
                    "tenants": st.dictionaries(names, shapes, max_size=4),
                }
            ),
        ),
        names,
    )
    def attempt(databases: Any, key: Any) -> None:
        container = made(kind, {"databases": databases})
        with tempfile.TemporaryDirectory() as folder:
            found: tuple[Mistake, ...] = ()
            try:
                init_app(new_app(Path(folder), "one"), container)
            except ConfigurationError as error:
                found = error.mistakes
            assert all(each.place.startswith("databases.") for each in found)
            use_all(container, key)
            shutdown(container)

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        attempt()  # without an app, relative paths start in the current folder
