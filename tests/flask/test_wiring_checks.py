"""Wiring mistakes speak, and what is right is left alone."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import click
import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, Provider, inject
from flask import Blueprint, Flask
from flask.cli import AppGroup
from flask.views import MethodView, View

from common.mistakes import line_of, mistakes
from common.shop import MakeApp, Shop, new_app, out, settings
from sqlite_container import Connection, SQLite, WiringError, shutdown
from sqlite_container.flask import init_app

Register = Callable[[Flask], None]


pytestmark = pytest.mark.usefixtures("forget_functions")


def test_a_missing_inject_is_found(make_app: MakeApp) -> None:
    """A view with a marker and without `@inject` is named, with its line and the cure."""

    def index(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))
    assert "view 'index'" in found
    assert "parameter 'db' would receive Provide[<notes.connection>]" in found
    assert line_of(index) in found
    assert "put '@inject' directly above 'def'" in found


def test_inject_above_the_route_is_found(make_app: MakeApp) -> None:
    """`@inject` above `@route` is told apart from a missing one."""
    lines: list[str] = []

    def register(app: Flask) -> None:
        def index(db: Connection = Provide[Shop.notes.connection]) -> str:
            return str(db)

        lines.append(line_of(index))
        inject(app.get("/")(index))

    found = mistakes(make_app, register)
    assert "stands above the route" in found
    assert lines[0] in found


def test_a_mistyped_identifier_is_found(make_app: MakeApp) -> None:
    """A string identifier that the container does not have is named with the nearest one."""

    @inject
    def index(db: Connection = Provide["notes.conection"]) -> str:
        return str(db)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))
    assert "'notes.conection'" in found
    assert "did you mean 'notes.connection'?" in found
    assert line_of(cast(Any, index).__wrapped__) in found


def test_an_unknown_tenant_in_a_string_identifier_is_found(make_app: MakeApp) -> None:
    """A tenant that the configuration does not name is found before the first request."""

    @inject
    def index(db: Connection = Provide["tenants.acmee.connection"]) -> str:
        return str(db)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))
    assert "acmee" in found
    assert "tenants.acme.connection" in found


def test_the_whole_database_as_a_connection_is_found(make_app: MakeApp) -> None:
    """`Provide[Container.notes]` is told to add `.connection` or `.reader`."""

    @inject
    def index(db: Connection = Provide[Shop.notes]) -> str:
        return str(db)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))
    assert "'.connection'" in found


@pytest.mark.parametrize("name", ["notes.connection", "notes.reader", "notes.database"])
def test_closing_is_refused(make_app: MakeApp, name: str) -> None:
    """`Closing[...]` is refused with the reason, for each provider of a database."""

    @inject
    def index(db: Any = Closing[Provide[name]]) -> str:
        return str(db)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))
    assert "every other request" in found
    assert "Provide[…]" in found


def test_closing_through_a_factory_is_refused(make_app: MakeApp) -> None:
    """`Closing[...]` on something made of a connection would close the database as well."""

    @inject
    def index(notes: Any = Closing[Provide[Shop.repository]]) -> str:
        return str(notes)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))
    assert "every other request" in found


def test_closing_in_a_function_that_is_no_view_is_refused(make_app: MakeApp) -> None:
    """A helper function with `Closing[...]` does not close the database behind the app's back."""

    @inject
    def helper(db: Connection = Closing[Provide[Shop.notes.connection]]) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    def index() -> str:
        return helper()

    try:
        app = make_app("one", lambda app: app.add_url_rule("/", view_func=index))
        app.test_client().get("/")
    except WiringError as error:
        assert "every other request" in str(error)  # noqa: PT017
    else:
        shop = app.extensions["sqlite_container"]
        assert shop.notes.database.initialized, "Closing[…] closed the database"


def test_every_mistake_is_told_at_once(make_app: MakeApp) -> None:
    """One error lists all mistakes of all views."""

    def one(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db)

    @inject
    def two(
        db: Connection = Provide["notes.x"], other: Connection = Provide["audit.connection"]
    ) -> str:
        return str(db)

    @inject
    def three(db: Connection = Closing[Provide["notes.connection"]]) -> str:
        return str(db)

    def register(app: Flask) -> None:
        for view in (one, two, three):
            app.add_url_rule(f"/{view.__name__}", view_func=view)

    lines = mistakes(make_app, register).splitlines()
    assert sorted(re.findall(r"view '(\w+)'", "\n".join(lines))) == ["one", "three", "two"]
    assert len(lines) == 3


def wrong_methods() -> type[View]:
    class Wrong(MethodView):
        def get(self, db: Connection = Provide[Shop.notes.connection]) -> str:
            return str(db)

        @inject
        def post(self, db: Connection = Provide["notes.wrong"]) -> str:
            return str(db)

    return Wrong


def wrong_dispatch() -> type[View]:
    class Wrong(View):
        def dispatch_request(self, db: Connection = Provide[Shop.notes.connection]) -> str:
            return str(db)

    return Wrong


def wrong_init() -> type[View]:
    class Wrong(View):
        def __init__(self, db: Connection = Provide[Shop.notes.connection]) -> None:
            self.db = db

        def dispatch_request(self) -> str:
            return str(self.db)

    return Wrong


@pytest.mark.parametrize(
    ("make_view", "methods"),
    [
        (wrong_methods, ["get", "post"]),
        (wrong_dispatch, ["dispatch_request"]),
        (wrong_init, ["__init__"]),
    ],
)
def test_a_method_of_a_class_based_view_is_checked(
    make_app: MakeApp, make_view: Callable[[], type[View]], methods: list[str]
) -> None:
    """Mistakes in `MethodView` and `View` methods are found, with the method's name and line."""
    view = make_view()
    found = mistakes(
        make_app, lambda app: app.add_url_rule("/", view_func=view.as_view("wrong"))
    ).splitlines()
    assert len(found) == len(methods)
    for line, method in zip(sorted(found), sorted(methods), strict=True):
        assert "view 'wrong'" in line
        assert method in line
        assert f"{__file__}:" in line


@pytest.mark.parametrize(
    "hook",
    [
        "before_request",
        "after_request",
        "teardown_request",
        "teardown_appcontext",
        "context_processor",
        "url_value_preprocessor",
    ],
)
def test_hooks_are_checked(make_app: MakeApp, hook: str) -> None:
    """Markers in hooks of every kind are found like those in views."""

    def bad(*_: object, db: Connection = Provide[Shop.notes.connection]) -> Any:
        return str(db)

    assert line_of(bad) in mistakes(make_app, lambda app: getattr(app, hook)(bad))


def test_an_error_handler_is_checked(make_app: MakeApp) -> None:
    """A marker in an error handler without `@inject` is found."""

    def bad(error: Exception, db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db)

    assert line_of(bad) in mistakes(
        make_app, lambda app: app.register_error_handler(LookupError, bad)
    )


def test_a_blueprints_hook_is_checked(make_app: MakeApp) -> None:
    """A marker in a blueprint's own `before_request` function is found."""

    def bad(db: Connection = Provide[Shop.notes.connection]) -> None:
        db.execute("SELECT 1")

    def register(app: Flask) -> None:
        blueprint = Blueprint("hooks", __name__)
        blueprint.before_request(bad)
        app.register_blueprint(blueprint)

    assert line_of(bad) in mistakes(make_app, register)


@pytest.mark.parametrize("where", ["app", "group", "blueprint"])
def test_commands_are_checked(make_app: MakeApp, where: str) -> None:
    """Markers in CLI commands are found: the app's, in a group, and a blueprint's."""
    lines: list[str] = []

    def register(app: Flask) -> None:
        def bad(db: Connection = Provide[Shop.notes.connection]) -> None:
            click.echo(str(db))

        lines.append(line_of(bad))
        if where == "app":
            app.cli.command("bad")(bad)
        elif where == "group":
            group = AppGroup("group")
            group.command("bad")(bad)
            app.cli.add_command(group)
        else:
            blueprint = Blueprint("commands", __name__)
            blueprint.cli.command("bad")(bad)
            app.register_blueprint(blueprint)

    found = mistakes(make_app, register)
    assert lines[0] in found
    assert "command 'bad'" in found


def test_a_view_registered_later_is_checked_at_the_first_request(make_app: MakeApp) -> None:
    """A mistake in a view that was registered after `init_app` is told by the first request."""
    app = make_app("one")

    @app.get("/")
    def index(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db)

    with pytest.raises(WiringError, match=r"view 'index' .*'@inject'"):
        app.test_client().get("/")
    with pytest.raises(WiringError):
        app.test_client().get("/")
    app.testing = False
    with app.test_client().get("/") as response:
        assert response.status_code == 500


def test_a_view_made_after_its_module_was_wired_is_told_so(make_app: MakeApp) -> None:
    """A function that was defined after the wiring either works, or is told that it came late."""
    app = make_app("one")

    @app.get("/")
    @inject
    def index(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    try:
        answer = app.test_client().get("/").text
    except WiringError as error:
        assert "has no" not in str(error), "the container does have it"  # noqa: PT017
        assert "wire" in str(error)  # noqa: PT017
    else:
        assert answer == "1"


def test_a_module_that_is_not_wired_is_found_at_the_first_request(tmp_path: Path) -> None:
    """An injected view whose module nobody wired is told apart, with the cure."""
    app = new_app(tmp_path, "one")
    container: Any = Shop()
    container.config.from_dict(settings(tmp_path, "one", {}))

    @app.get("/")
    @inject
    def index(db: Connection = Provide["notes.connection"]) -> str:
        return str(db)

    index.__module__ = "web.nobody_wires_this"
    init_app(app, container)
    with pytest.raises(WiringError, match=r"wiring_config|container\.wire"):
        app.test_client().get("/")
    shutdown(container)


def test_a_module_wired_after_init_app_is_fine(tmp_path: Path) -> None:
    """Wiring may come after `init_app`, as long as it comes before the first request."""
    app = new_app(tmp_path, "one")
    container: Any = Shop()
    container.config.from_dict(settings(tmp_path, "one", {}))

    @app.get("/")
    @inject
    def index(db: Connection = Provide["notes.connection"]) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    init_app(app, container)
    container.wire(modules=[sys.modules[__name__]])
    assert app.test_client().get("/").text == "1"
    shutdown(container)


def test_annotated_without_inject_is_found(make_app: MakeApp) -> None:
    """A marker in `Annotated[...]` without `@inject` is found."""

    def index(db: Connection) -> str:
        return str(db)

    index.__annotations__["db"] = Annotated[Connection, Provide[Shop.notes.connection]]
    assert line_of(index) in mistakes(make_app, lambda app: app.add_url_rule("/", view_func=index))


def test_two_containers_may_provide_for_one_module(make_app: MakeApp) -> None:
    """What another container provides for the same module is no mistake."""

    class Other(containers.DeclarativeContainer):
        number = providers.Object(5)

    @inject
    def index(
        db: Connection = Provide[Shop.notes.connection],
        number: int = Provide[Other.number],
        named: int = Provide["number"],
    ) -> str:
        return str(db.execute("SELECT ? + ?", (number, named)).fetchone()[0])

    other: Any = Other()
    other.wire(modules=[sys.modules[__name__]])
    app = make_app("one", lambda app: app.add_url_rule("/", view_func=index))
    assert app.test_client().get("/").text == "10"


def plain() -> str:
    return "plain"


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return f"[{function(*args, **kwargs)}]"

    return wrapper


class Plain:
    def __call__(self) -> str:
        return "called"

    def method(self) -> str:
        return "method"


@dataclasses.dataclass
class Unhashable:
    text: str

    def __call__(self) -> str:
        return self.text


def test_a_correct_app_has_no_false_alarm(make_app: MakeApp) -> None:
    """Views of every kind, with and without injections, pass the check and work."""

    @decorated
    @decorated
    @inject
    def wrapped(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    @inject
    def by_provider(notes: Any = Provider[Shop.notes]) -> str:
        return str(isinstance(notes, SQLite) or notes is not None)

    @inject
    async def asynchronous(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    views: dict[str, tuple[Any, str]] = {
        "plain": (plain, "plain"),
        "lambda": (lambda: "lambda", "lambda"),
        "partial": (functools.partial(str, "partial"), "partial"),
        "object": (Plain(), "called"),
        "method": (Plain().method, "method"),
        "wrapped": (wrapped, "[[1]]"),
        "partial-injected": (functools.partial(wrapped), "[[1]]"),
        "provider": (by_provider, "True"),
        "async": (asynchronous, "1"),
        "builtin": (dict, "{}\n"),
    }

    def register(app: Flask) -> None:
        for name, (view, _) in views.items():
            app.add_url_rule(f"/{name}", endpoint=name, view_func=view)
        app.add_url_rule("/nothing", endpoint="nothing")

        @app.cli.group()
        def group() -> None: ...

    app = make_app("one", register)
    client = app.test_client()
    assert {name: client.get(f"/{name}").text for name in views} == {
        name: answer for name, (_, answer) in views.items()
    }
    with client.get("/static/missing.css") as response:
        assert response.status_code == 404
    assert out(app) == 0


def test_a_view_may_be_an_unhashable_object(make_app: MakeApp) -> None:
    """An object that cannot be a key, such as a dataclass's, may be a view."""
    view = Unhashable("data")
    app = make_app("one", lambda app: app.add_url_rule("/", endpoint="data", view_func=view))
    assert app.test_client().get("/").text == "data"


def test_hooks_may_be_any_callable(make_app: MakeApp) -> None:
    """Partials and objects as hooks are no mistake."""

    def register(app: Flask) -> None:
        app.before_request(functools.partial(plain_hook, None))
        app.before_request(Hook())
        app.teardown_request(functools.partial(plain_hook))
        app.add_url_rule("/", view_func=plain)

    assert make_app("one", register).test_client().get("/").text == "plain"


def plain_hook(_: object) -> None: ...


class Hook:
    def __call__(self) -> None: ...


PROVIDER = providers.Object(1)


def test_a_default_that_looks_like_anything_is_no_marker(make_app: MakeApp) -> None:
    """Only dependency-injector's markers are taken for markers."""

    def index(one: Any = PROVIDER, two: Any = plain, three: type = Plain) -> str:
        return "fine"

    app = make_app("one", lambda app: app.add_url_rule("/", view_func=index))
    assert app.test_client().get("/").text == "fine"


def test_the_check_costs_the_first_request_only(make_app: MakeApp) -> None:
    """After the first request the app has the hooks that it had before."""
    app = make_app("one", lambda app: app.add_url_rule("/", view_func=plain))
    app.test_client().get("/")
    assert app.before_request_funcs[None] == []
