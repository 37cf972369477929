"""What `init_app` says about settings: where they are missing, and all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from flask import Flask
from pydantic import BaseModel, ConfigDict, Field

from common.shop import Lenient, Strict, new_app
from sqlite_container import (
    ConfigurationError,
    Connection,
    DatabaseConfig,
    OutsideAppContext,
    SQLite,
    SQLiteDict,
    WiringError,
    shutdown,
)
from sqlite_container.container import scope
from sqlite_container.flask import init_app

Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a container with this configuration to an app, and shut it down in the end."""
    made: list[Any] = []

    def init(settings: Mapping[str, Any], kind: Any = Strict, app: Flask | None = None) -> Any:
        container: Any = kind()
        made.append(container)
        if settings:
            container.config.from_dict(settings)
        init_app(app or new_app(tmp_path, "one"), container)
        return container

    yield init
    for container in made:
        shutdown(container)


def told(start: Start, settings: Mapping[str, Any], kind: Any = Strict) -> dict[str, str]:
    """Each mistake by its place."""
    with pytest.raises(ConfigurationError) as caught:
        start(settings, kind)
    return {each.place: each.problem for each in caught.value.mistakes}


# -- what is missing -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Strict, Lenient])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"databases": {"note": ":memory:"}}, "nothing is set here; did you mean 'note'?"),
        ({"databases": {"x": 1, "y": 2}}, "nothing is set here; known are: x, y"),
        (
            {"database": {"notes": ":memory:"}},
            "nothing is set here; 'databases' is missing; did you mean 'database'?",
        ),
        ({}, "nothing is set here; the configuration is empty: load it before it is used"),
    ],
)
def test_a_missing_setting_is_told_with_what_there_is(
    start: Start, kind: Any, settings: dict[str, Any], said: str
) -> None:
    """A key that the configuration does not have is answered with the nearest that it has."""
    more: dict[str, Any] = {"tenants": {}} if settings else {}
    found = told(start, settings | more, kind)["databases.notes"]
    assert found.replace(", tenants", "") == said


@pytest.mark.parametrize("kind", [Strict, Lenient])
def test_a_missing_mapping_of_tenants_is_told_likewise(start: Start, kind: Any) -> None:
    """The key of a `SQLiteDict` that is missing is answered with the nearest."""
    found = told(start, {"databases": {"notes": ":memory:"}, "tenant": {}}, kind)
    assert found == {"tenants": "nothing is set here; did you mean 'tenant'?"}


def test_a_setting_that_is_there_and_empty_is_told_apart(start: Start) -> None:
    """A key without a value, as YAML allows, is not called missing."""
    found = told(start, {"databases": {"notes": None}, "tenants": {}})
    assert found["databases.notes"].endswith("found nothing")


def test_a_typed_option_is_answered_too(tmp_path: Path) -> None:
    """`config.x.as_(...)` that is missing is answered with the nearest key."""

    class One(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        notes = SQLite(config.notes.as_(str))

    container: Any = One()
    container.config.from_dict({"note": "x"})
    with pytest.raises(
        ConfigurationError, match=r"^notes: nothing is set here; did you mean 'note'"
    ):
        init_app(new_app(tmp_path, "one"), container)


# -- everything at once ----------------------------------------------------------------


def test_every_mistake_of_every_database_is_told_at_once(start: Start, tmp_path: Path) -> None:
    """Beside a typo, a missing schema file and two databases on one file are told as well."""
    found = told(
        start,
        {
            "databases": {"notes": {"path": "a.db", "busy_timout": 1, "schema": "no.sql"}},
            "tenants": {
                "a": {"path": "a.db", "mod": "ro"},
                "b": {"path": "b.db", "schema": "none.sql"},
                "../c": "c.db",
                "d": 5,
            },
        },
    )
    assert {place: problem.split(";")[0].split(" '")[0] for place, problem in found.items()} == {
        "databases.notes.busy_timout": "unknown setting",
        "databases.notes.schema": "there is no file",
        "tenants.a.mod": "unknown setting",
        "tenants.a.path": "database",
        "tenants.b.schema": "there is no file",
        "tenants.../c": found["tenants.../c"].split(";")[0],
        "tenants.d": found["tenants.d"].split(" '")[0],
    }
    assert "letters, digits" in found["tenants.../c"]


def test_what_cannot_be_read_is_told_once(start: Start) -> None:
    """A path and a schema that are no paths are one mistake each, and nothing is looked for."""
    found = told(start, {"databases": {"notes": {"path": 5, "schema": 6}}, "tenants": {}})
    assert sorted(found) == ["databases.notes.path", "databases.notes.schema"]


# -- names -----------------------------------------------------------------------------

NAMES = ["names", "path", "provider", "related", "declared", "a.b", "a", "_x", "a-b", "1st"]


@pytest.mark.usefixtures("forget_functions")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["connection", "reader", "database"])
@pytest.mark.parametrize("others", [NAMES, []])
def test_a_text_reaches_a_database_of_any_name(
    start: Start, tmp_path: Path, name: str, kind: str, others: list[str]
) -> None:
    """`Provide["tenants.NAME.connection"]` works for names with dots, and those of attributes."""

    @inject
    def index(db: Any = Provide[f"tenants.{name}.{kind}"]) -> str:
        with db.reader() if kind == "database" else db:
            return str(type(db).__name__)

    app = new_app(tmp_path, "one")
    app.add_url_rule("/", view_func=index)

    class Wired(Strict):
        wiring_config = containers.WiringConfiguration(modules=[__name__])

    tenants = dict.fromkeys([name, *others], "{name}.db")
    container = start({"databases": {"notes": ":memory:"}, "tenants": tenants}, Wired, app)
    assert app.test_client().get("/").text == ("Database" if kind == "database" else "Connection")
    assert (tmp_path / f"{name}.db").is_file()
    assert container.tenants[name].database.initialized


@pytest.mark.usefixtures("forget_functions")
@pytest.mark.parametrize("text", ["tenants.names", "tenants.a.b"])
def test_a_text_that_reaches_no_connection_is_not_answered_with_itself(
    start: Start, tmp_path: Path, text: str
) -> None:
    """A mistaken text gets another one as advice, or what to add."""

    @inject
    def index(db: Any = Provide[text]) -> str:
        return str(db)

    class Wired(Strict):
        wiring_config = containers.WiringConfiguration(modules=[__name__])

    app = new_app(tmp_path, "one")
    app.add_url_rule("/", view_func=index)
    tenants = dict.fromkeys(NAMES, "{name}.db")
    with pytest.raises(WiringError) as caught:
        start({"databases": {"notes": ":memory:"}, "tenants": tenants}, Wired, app)
    assert "parameter 'db'" in str(caught.value)
    assert f"did you mean '{text}'" not in str(caught.value)


@pytest.mark.parametrize("member", ["connection", "reader", "database"])
def test_a_member_of_all_tenants_is_told_what_to_name(
    start: Start, tmp_path: Path, member: str
) -> None:
    """`tenants.connection`, without a database's name, is told how to write it."""

    class Wrong(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        tenants = SQLiteDict(config.tenants)
        service: Any = providers.Factory(list, getattr(tenants, member))

    found = told(start, {"databases": {"notes": ":memory:"}, "tenants": {"acme": "x.db"}}, Wrong)
    said = found[f"tenants.{member}"]
    assert f"tenants.acme.{member}" in said
    assert "tenants.provider" in said


# -- {name} ----------------------------------------------------------------------------


class Model(BaseModel):
    path: Path
    mode: str = "rwc"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)
    file: str = Field(default="data/{name}.db", alias="path")


@pytest.mark.parametrize(
    "settings",
    [
        "data/{name}.db",
        Path("data/{name}.db"),
        {"path": "data/{name}.db"},
        {"path": Path("data/{name}.db")},
        Model(path=Path("data/{name}.db")),
        Frozen(),
        DatabaseConfig(path="data/{name}.db"),
    ],
)
def test_a_name_is_filled_in_everywhere(tmp_path: Path, settings: Any) -> None:
    """`{name}` in a path is replaced in every form that settings can have."""
    (tmp_path / "data").mkdir()
    container: Any = containers.DynamicContainer()
    container.tenants = SQLiteDict({"acme": settings, "globex": settings})
    init_app(new_app(tmp_path, "one"), container)
    for name in ("acme", "globex"):
        container.tenants[name].database()
    shutdown(container)
    assert sorted(file.name for file in (tmp_path / "data").glob("*.db")) == [
        "acme.db",
        "globex.db",
    ]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ("{nam}.db", "tenants.acme"),
        (Path("{nam}.db"), "tenants.acme"),
        ({"path": "{name}/{nam}.db"}, "tenants.acme.path"),
        (DatabaseConfig(path="{nam}.db"), "tenants.acme.path"),
        (Model(path=Path("{nam}")), "tenants.acme.path"),
        ({"path": "{}.db"}, "tenants.acme.path"),
        ({"path": "{ name }.db"}, "tenants.acme.path"),
    ],
)
def test_a_mistyped_placeholder_is_told(start: Start, settings: Any, place: str) -> None:
    """Another word than `{name}` in braces is a mistake, which names the one that is known."""
    more = {"databases": {"notes": ":memory:"}}
    found = told(start, {**more, "tenants": {"acme": settings}})
    assert list(found) == [place]
    assert "{name} for the database's name" in found[place]


# -- arguments of init_app, and no init_app at all -----------------------------------------


def test_swapped_arguments_are_told(tmp_path: Path) -> None:
    """`init_app(container, app)` is told that the app comes first."""
    app, container = new_app(tmp_path, "one"), Strict()
    with pytest.raises(ConfigurationError, match=r"the app comes first.*swapped"):
        init_app(container, app)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the app comes first"):
        init_app(None, container)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [Strict, None, "container", SQLite(":memory:")])
def test_no_container_is_told(tmp_path: Path, wrong: Any) -> None:
    """A class, or anything else, where an instance of a container is expected, is refused."""
    with pytest.raises(ConfigurationError, match=r"^one: an instance of a container is expected"):
        init_app(new_app(tmp_path, "one"), wrong)


@pytest.mark.parametrize("make", [SQLite, lambda: SQLite(None)])
def test_a_database_without_settings_is_told(make: Callable[[], Any]) -> None:
    """`SQLite()` in a container is an error with the database's name, and says what to give."""
    with pytest.raises(ConfigurationError, match=r"^notes: SQLite\(…\) needs settings"):
        type("Empty", (containers.DeclarativeContainer,), {"notes": make()})
    container: Any = containers.DynamicContainer()
    with pytest.raises(ConfigurationError, match=r"^notes: SQLite\(…\) needs settings"):
        container.notes = make()
    with pytest.raises(ConfigurationError, match="needs settings"):
        _ = make().connection


def test_a_view_in_a_process_without_init_app_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no app has a container, the error names `init_app`, and what works without an app."""
    monkeypatch.setattr(scope.scopes, "find", scope.no_scope)
    container: Any = containers.DynamicContainer()
    container.notes = SQLite(tmp_path / "notes.db")
    with new_app(tmp_path, "one").app_context(), pytest.raises(OutsideAppContext) as caught:
        _: Connection = container.notes.connection()
    assert "sqlite_container.flask.init_app(app, container)" in str(caught.value)
    assert "with database.connection() as db:" in str(caught.value)
    assert "there is none here" not in str(caught.value)


# -- where relative paths start ------------------------------------------------------------------


def test_a_database_that_is_added_later_is_beside_the_others(tmp_path: Path) -> None:
    """After init_app, a new one of the container, or of its tenants, starts in the same folder."""

    class Late(containers.DeclarativeContainer):
        config = providers.Configuration()
        notes = SQLite(config.notes)
        tenants = SQLiteDict(config.tenants)

    app, late = new_app(tmp_path, "late"), Late()
    late.config.from_dict({"notes": "notes.db", "tenants": {}})
    init_app(app, late)
    late.added = SQLite("added.db")
    late.tenants.override(SQLiteDict({"acme": "{name}.db"}))
    folder = Path(app.instance_path)
    assert late.added.database().file == folder / "added.db"
    assert late.tenants["acme"].database().file == folder / "acme.db"
    shutdown(late)


def of_another_container() -> tuple[Any, Any]:
    """A container whose provider uses a database of another one, and that database."""
    container: Any = containers.DynamicContainer()
    core: Any = containers.DynamicContainer()
    core.notes = SQLite("notes.db")
    container.user = providers.Factory(list, core.notes.database)
    return container, core.notes


def of_a_dependency() -> tuple[Any, Any]:
    """A container that is given another one, and a database of that."""

    class Core(containers.DeclarativeContainer):
        notes = SQLite("notes.db")

    class Main(containers.DeclarativeContainer):
        core = providers.DependenciesContainer()

    core: Any = Core()
    return Main(core=core), core.notes


def without_a_name() -> tuple[Any, Any]:
    """A container whose provider uses a database that stands in no container."""
    container: Any = containers.DynamicContainer()
    notes = SQLite("notes.db")
    container.user = providers.Factory(list, notes.database)
    return container, notes


@pytest.mark.parametrize("make", [of_another_container, of_a_dependency, without_a_name])
def test_a_database_that_stands_elsewhere_is_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], tuple[Any, Any]]
) -> None:
    """It is enough that the app's container uses it."""
    monkeypatch.chdir(tmp_path)
    app, (container, notes) = new_app(tmp_path / "instance", "elsewhere"), make()
    init_app(app, container)
    assert notes.database().file == Path(app.instance_path) / "notes.db"
    shutdown(container)
    notes.database.close()


@pytest.mark.parametrize("use", ["database", "init_resources", "factory"])
def test_what_was_opened_too_early_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """It has a file in the current folder, and would go on with it."""

    class Early(containers.DeclarativeContainer):
        notes = SQLite("notes.db")
        other = SQLite(str(tmp_path / "other.db"))
        factory: Any = providers.Factory(list, providers.List(notes.database, other.database))

    monkeypatch.chdir(tmp_path)
    app, early = new_app(tmp_path / "instance", "early"), Early()
    getattr(early, use, early.notes.database)()
    with pytest.raises(ConfigurationError, match=r"^notes.path: it is open already, on ") as caught:
        init_app(app, early)
    assert str(tmp_path / "notes.db") in str(caught.value)
    assert "other" not in str(caught.value)
    shutdown(early)
    init_app(app, early)
    assert early.notes.database().file == Path(app.instance_path) / "notes.db"
    shutdown(early)
