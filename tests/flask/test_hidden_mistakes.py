"""More wiring mistakes that speak: where markers hide, and what is asked for by mistake."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import Annotated, Any

import click
import pytest
from dependency_injector.wiring import DIWiringWarning, Provide, Provider, inject
from flask import Blueprint, Flask, render_template_string
from flask.views import MethodView

from common.mistakes import line_of, mistakes
from common.shop import MakeApp, Shop, new_app, settings
from sqlite_container import Connection, Database, WiringError
from sqlite_container.flask import init_app

Loose = Annotated[Connection, Provide[Shop.notes.connection]]
SHOP: Any = Shop


pytestmark = pytest.mark.usefixtures("forget_functions")


def view_mistakes(make_app: MakeApp, view: Any) -> str:
    found = mistakes(make_app, lambda app: app.add_url_rule("/", "index", view))
    assert found.startswith("view 'index' ("), found
    assert "parameter 'db' " in found
    return found


def make_bad() -> Any:
    # Wiring would put '@inject' on a function of the module itself.
    def bad(*_: object, db: Connection = Provide[Shop.notes.connection]) -> Any:
        return str(db)

    return bad


@pytest.mark.parametrize("kind", ["filter", "global", "test"])
@pytest.mark.parametrize("of_blueprint", [True, False])
def test_a_function_for_templates_is_checked(
    make_app: MakeApp, kind: str, of_blueprint: bool
) -> None:
    """A marker in a template filter, global or test without `@inject` is found."""

    bad = make_bad()

    def register(app: Flask) -> None:
        blueprint = Blueprint("part", __name__)
        prefix = "app_" if of_blueprint else ""
        on: Any = blueprint if of_blueprint else app
        getattr(on, f"{prefix}template_{kind}")("shout")(bad)
        app.register_blueprint(blueprint)

    found = mistakes(make_app, register)
    assert f"template {kind} 'shout' ({line_of(bad)}): parameter 'db'" in found
    assert "put '@inject' directly above 'def'" in found


def test_the_check_does_not_make_the_jinja_environment(make_app: MakeApp) -> None:
    """`init_app` leaves it to the app when its template environment is made."""
    assert "jinja_env" not in vars(make_app("one"))


def test_url_defaults_are_checked(make_app: MakeApp) -> None:
    """A marker in a function of `url_defaults` without `@inject` is found."""
    bad = make_bad()
    assert line_of(bad) in mistakes(make_app, lambda app: app.url_defaults(bad))


def test_a_decorator_of_a_view_class_is_checked(make_app: MakeApp) -> None:
    """A marker in a function of `View.decorators` is found, with the view's and its own name."""

    def logged(view: Any, db: Connection = Provide[Shop.notes.connection]) -> Any:
        return view

    class Index(MethodView):
        decorators = [logged]  # noqa: RUF012

        def get(self) -> str:
            return ""

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=Index.as_view("index")))
    assert f"view 'index', decorator 'logged' ({line_of(logged)}): parameter 'db'" in found


def test_a_marker_as_an_attribute_of_a_view_class_is_found(make_app: MakeApp) -> None:
    """A marker in the body of a view class is told to become a parameter."""

    class Base(MethodView):
        db = Provide[Shop.notes.connection]

    class Index(Base):
        def get(self) -> str:
            return str(self.db)

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=Index.as_view("index")))
    assert "view 'index'" in found
    assert "attribute 'db'" in found
    assert "make it a parameter of the method" in found


def test_an_attribute_of_a_view_class_may_still_become_wired(tmp_path: Any) -> None:
    """Until the first request nobody knows whether a class's module will be wired."""

    class Index(MethodView):
        number = Provide[Shop.config.title]

        def get(self) -> str:
            return str(self.number)

    app, container = new_app(tmp_path, "one"), SHOP()
    container.config.from_dict(settings(tmp_path, "one", {}))
    app.add_url_rule("/", view_func=Index.as_view("index"))
    init_app(app, container)
    with pytest.raises(WiringError, match="attribute 'number'"):
        app.test_client().get("/")


def silent(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def test_a_view_below_a_decorator_that_tells_nothing_is_checked(make_app: MakeApp) -> None:
    """A decorator without `functools.wraps` does not hide a missing `@inject`."""

    def index(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db)

    assert line_of(index) in view_mistakes(make_app, silent(silent(index)))


def test_an_injected_view_below_such_a_decorator_is_checked_too(make_app: MakeApp) -> None:
    """What `@inject` cannot resolve is found below a decorator without `functools.wraps`."""

    @inject
    def index(db: Connection = Provide["notes.conection"]) -> str:
        return str(db)

    assert "did you mean 'notes.connection'?" in view_mistakes(make_app, silent(index))


def test_a_correct_view_below_such_a_decorator_is_fine(make_app: MakeApp) -> None:
    """An injected view works below a decorator without `functools.wraps`."""

    @inject
    def index(db: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    app = make_app("one", lambda app: app.add_url_rule("/", "index", silent(index)))
    assert app.test_client().get("/").text == "1"


@pytest.mark.parametrize("through_group", [True, False])
def test_a_command_registered_later_is_checked_when_it_runs(
    make_app: MakeApp, through_group: bool
) -> None:
    """A mistake in a command that was registered after `init_app` is told when it is run."""
    app = make_app("one")

    def late(db: Connection = Provide[Shop.notes.connection]) -> None:
        click.echo(str(db))

    if through_group:
        group = click.Group("more")
        group.command("late")(late)
        app.cli.add_command(group)
    else:
        app.cli.command("late")(late)
    args = ["more", "late"] if through_group else ["late"]
    result = app.test_cli_runner().invoke(args=args)
    assert isinstance(result.exception, WiringError)
    assert f"command 'late' ({line_of(late)}): parameter 'db'" in str(result.exception)


def test_a_correct_command_registered_later_runs(make_app: MakeApp) -> None:
    """A command that came after `init_app` and is right has its connection."""
    app = make_app("one")

    @inject
    def late(db: Connection = Provide["notes.connection"]) -> None:
        click.echo(db.execute("SELECT 'fine'").fetchone()[0])

    app.cli.command("late")(late)
    app.extensions["sqlite_container"].wire(modules=[__name__])
    result = app.test_cli_runner().invoke(args=["late"])
    assert (result.output, result.exception) == ("fine\n", None)
    assert app.test_cli_runner().invoke(args=["nothing"]).exit_code == 2


@pytest.mark.parametrize(
    ("default", "cure"),
    [
        (SHOP.notes.connection, "Provide[Shop.notes.connection]"),
        (SHOP.notes.reader, "Provide[Shop.notes.reader]"),
        (SHOP.notes.database, "Provide[Shop.notes.database]"),
        (SHOP.notes, "Provide[Shop.notes.connection]"),
        (SHOP.tenants, "Provide[Shop.tenants.provider]"),
    ],
)
def test_a_provider_without_provide_is_found(make_app: MakeApp, default: Any, cure: str) -> None:
    """A default that is a provider itself is told to stand in `Provide[...]`."""

    def index(db: Any = default) -> str:
        return str(db)

    assert f"write {cure}" in view_mistakes(make_app, index)


def test_a_provider_without_provide_beside_an_injection_is_found(make_app: MakeApp) -> None:
    """`@inject` for one parameter does not hide that another got the provider itself."""

    @inject
    def index(
        other: Connection = Provide[Shop.notes.connection], db: Any = SHOP.audit.connection
    ) -> str:
        return str(db)

    assert "write Provide[Shop.audit.connection]" in view_mistakes(make_app, index)


@pytest.mark.parametrize(
    "annotation", [Connection, "Connection", "x.Connection", sqlite3.Connection]
)
def test_a_database_annotated_as_a_connection_is_found(make_app: MakeApp, annotation: Any) -> None:
    """`db: Connection = Provide[Container.notes.database]` is told what to ask for."""

    def index(db: Any = Provide[Shop.notes.database]) -> str:
        return str(db)

    index.__annotations__["db"] = annotation
    found = view_mistakes(make_app, inject(index))
    assert "would receive a Database; ask for '.connection' or '.reader'" in found


@pytest.mark.parametrize("name", ["notes.connection", "notes.reader"])
def test_a_connection_annotated_as_a_database_is_found(make_app: MakeApp, name: str) -> None:
    """`db: Database = Provide[Container.notes.connection]` is told what to ask for."""

    @inject
    def index(db: Database = Provide[name]) -> str:
        return str(db)

    assert "would receive a Connection; ask for '.database'" in view_mistakes(make_app, index)


def test_other_annotations_are_no_mistake(make_app: MakeApp) -> None:
    """Unions, `Any`, other classes, and names that nobody can resolve raise no alarm."""

    @inject
    def index(
        one: Connection | Database = Provide[Shop.notes.connection],
        two: Any = Provide[Shop.notes.database],
        three: Nobody = Provide[Shop.notes.database],  # type: ignore[name-defined] # noqa: F821
        four: sqlite3.Connection = Provide[Shop.notes.reader],
        five: Database = Provide[Shop.notes.database],
    ) -> str:
        return type(two).__name__

    app = make_app("one", lambda app: app.add_url_rule("/", view_func=index))
    assert app.test_client().get("/").text == "Database"


@pytest.mark.parametrize(
    "annotation", ["Annotated[Connection, Provide[Shop.notes.connection]]", "Loose"]
)
@pytest.mark.parametrize("with_inject", [True, False])
def test_a_marker_in_an_annotation_that_is_text_is_found(
    make_app: MakeApp, annotation: str, with_inject: bool
) -> None:
    """With `from __future__ import annotations` a marker in `Annotated[...]` gets its cure."""

    def index(db: Any) -> str:
        return str(db)

    index.__annotations__["db"] = annotation
    if with_inject:
        with pytest.warns(DIWiringWarning, match="not required"):
            index = inject(index)
    found = view_mistakes(make_app, index)
    assert "'from __future__ import annotations'" in found
    assert "write 'db: Connection = Provide[…]'" in found
    assert line_of(index) in found


def test_a_text_annotation_beside_an_injection_is_found(make_app: MakeApp) -> None:
    """`@inject` that sees one marker does not hide the one that it cannot read."""

    @inject
    def index(db: Loose, other: Connection = Provide[Shop.notes.connection]) -> str:
        return str(db)

    assert "'from __future__ import annotations'" in view_mistakes(make_app, index)


@pytest.mark.parametrize("marker", [Provide["tenants"], Provide[SHOP.tenants]])
def test_all_tenants_as_a_connection_are_told_apart(make_app: MakeApp, marker: Any) -> None:
    """`Provide[Container.tenants]` is told `.provider`, and a member that there is."""

    @inject
    def index(db: Any = marker) -> str:
        return str(db)

    found = view_mistakes(make_app, index)
    assert "'.provider'" in found
    assert "'.acme.connection'" in found
    assert "'.connection'" not in found


@pytest.mark.parametrize(
    "marker", [Provide["tenants.provider"], Provide[SHOP.tenants.provider], Provider["tenants"]]
)
def test_all_tenants_are_injected_by_provider(make_app: MakeApp, marker: Any) -> None:
    """What the message advises gives the `SQLiteDict` itself."""

    @inject
    def index(db: Any = marker) -> list[str]:
        return list(db.names())

    app = make_app("one", lambda app: app.add_url_rule("/", view_func=index))
    assert app.test_client().get("/").json == ["acme", "globex"]


def test_a_text_that_names_no_provider_is_found(make_app: MakeApp) -> None:
    """A string identifier that leads to an attribute, and no provider, is a mistake."""

    @inject
    def index(db: Any = Provide["notes.path"]) -> str:
        return str(db)

    assert "the container has no 'notes.path'" in view_mistakes(make_app, index)


# -- wrappers, and what can be called ------------------------------------------------------------


def wrapped(view: Any) -> Any:
    """A decorator whose wrapper has a marker that nobody sees, because of its ``__wrapped__``."""

    @functools.wraps(view)
    def wrapper(*args: Any, db: Any = Provide[Shop.notes.connection], **more: Any) -> Any:
        return view(*args, **more)

    return wrapper


def injected_above(view: Any) -> Any:
    """``@inject`` above ``@wraps`` reads the parameters of the view."""

    @inject
    @functools.wraps(view)
    def wrapper(*args: Any, db: Any = Provide[Shop.notes.connection], **more: Any) -> Any:
        return view(*args, **more)

    return wrapper


def injected_below(view: Any) -> Any:
    """As it should be."""

    @functools.wraps(view)
    @inject
    def wrapper(*args: Any, db: Any = Provide[Shop.notes.connection], **more: Any) -> Any:
        return f"{view(*args, **more)} {db.execute('SELECT 7').fetchone()[0]}"

    return wrapper


def plain_view() -> str:
    """A view without a database."""
    return "plain"


@inject
def reading_view(notes: Any = Provide[Shop.notes.reader]) -> str:
    """A view with one."""
    return str(notes.execute("SELECT 1").fetchone()[0])


@pytest.mark.filterwarnings("ignore:@inject is not required here")
@pytest.mark.parametrize("decorate", [wrapped, injected_above])
@pytest.mark.parametrize("view", [plain_view, reading_view])
def test_a_marker_that_a_wrapper_hides_is_found(
    make_app: MakeApp, decorate: Callable[[Any], Any], view: Any
) -> None:
    """At init_app, not in the first request."""
    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=decorate(view)))
    assert "parameter 'db' would receive Provide[" in found
    assert "'@wraps'" in found


def test_a_view_below_a_wrapper_that_is_injected_is_checked(make_app: MakeApp) -> None:
    """The `@inject` of a decorator does not stand for the view's own."""

    def index(notes: Connection = Provide[Shop.notes.reader]) -> str:
        return str(notes)

    view = injected_below(index)
    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=view))
    assert f"({line_of(index)}): parameter 'notes' would receive Provide[" in found


def test_annotations_that_wraps_has_copied_are_not_the_wrappers(make_app: MakeApp) -> None:
    """A wrapper's parameter may have the name of one that is injected into the view."""

    def decorate(view: Any) -> Any:
        @functools.wraps(view)
        def wrapper(db: Any = None, **more: Any) -> Any:
            return view(**more)

        return wrapper

    def index(db: Any) -> str:
        return str(db.execute("SELECT 1").fetchone()[0])

    index.__annotations__["db"] = Annotated[Connection, Provide[Shop.notes.reader]]
    view = decorate(inject(index))
    app = make_app("one", lambda app: app.add_url_rule("/", "index", view))
    assert app.test_client().get("/").text == "1"


@pytest.mark.parametrize("decorate", [lambda view: view, silent])
def test_an_argument_that_a_partial_gives_is_no_mistake(make_app: MakeApp, decorate: Any) -> None:
    """The marker is only the default then."""

    def index(db: Any = Provide[Shop.notes.reader]) -> str:
        return str(db)

    view = functools.partial(decorate(index), db="given")
    app = make_app("one", lambda app: app.add_url_rule("/", "index", view))
    assert app.test_client().get("/").text == "given"


def test_a_marker_that_a_partial_gives_is_found(make_app: MakeApp) -> None:
    """Nothing puts a connection in its place."""

    def index(db: Any) -> str:
        return str(db)

    view_mistakes(make_app, functools.partial(index, db=Provide[Shop.notes.reader]))


@pytest.mark.parametrize("view", [plain_view, reading_view])
def test_a_wrapper_that_is_injected_itself_works(make_app: MakeApp, view: Any) -> None:
    """With ``@inject`` directly above its ``def``."""
    app = make_app("one", lambda app: app.add_url_rule("/", view_func=injected_below(view)))
    assert app.test_client().get("/").text.endswith(" 7")


class Callee:
    """An object that can be called, and is injected into."""

    @inject
    def __call__(self, db: Any = Provide[Shop.notes.reader]) -> Any:
        row = db.execute("SELECT 'called'").fetchone()
        return {"called": row[0]}


REGISTERED: dict[str, Callable[[Flask], object]] = {
    "view": lambda app: app.add_url_rule("/", "callee", Callee()),
    "partial": lambda app: app.add_url_rule("/", "callee", functools.partial(Callee())),
    "hook": lambda app: app.before_request(Callee()),
    "context processor": lambda app: app.context_processor(Callee()),
}


@pytest.mark.parametrize("register", REGISTERED.values(), ids=REGISTERED)
def test_an_object_that_is_called_may_be_injected(
    make_app: MakeApp, register: Callable[[Flask], object]
) -> None:
    """It is as good as a function."""
    app = make_app("one", register)
    if "callee" not in app.view_functions:
        app.add_url_rule("/", view_func=lambda: render_template_string("{{ called }}"))
    assert "called" in app.test_client().get("/").text


def test_a_view_that_is_made_once_has_no_connection(make_app: MakeApp) -> None:
    """Its ``__init__`` runs before any request."""

    class Once(MethodView):
        init_every_request = False

        @inject
        def __init__(self, db: Any = Provide[Shop.notes.connection]) -> None:
            self.db = db

        def get(self) -> str:
            return "once"

    found = mistakes(make_app, lambda app: app.add_url_rule("/", view_func=Once.as_view("once")))
    assert "parameter 'db' of '__init__' is injected once" in found
