"""Several apps of a process that share their view modules: each gets what is its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from dependency_injector import providers, wiring
from dependency_injector.wiring import Closing, Provide, inject
from flask import Flask

from common import views
from common.shop import (
    MakeApp,
    Shop,
    container_of,
    factory,
    fill,
    new_app,
    nothing_lost,
    out,
    settings,
)
from sqlite_container import Connection, shutdown
from sqlite_container.flask import init_app


def share(app: Flask) -> None:
    app.register_blueprint(views.bp)


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Make apps that share `views`."""
    with factory(tmp_path, views.__name__) as make:
        yield make


@pytest.fixture
def stray(tmp_path: Path) -> Iterator[Callable[[], Shop]]:
    """A container made and wired after the apps, which is never given to one of them."""
    made: list[Any] = []

    def later() -> Shop:
        folder = tmp_path / "stray"
        folder.mkdir()
        shop: Any = Shop()
        made.append(shop)
        config = settings(folder, "stray", {"path": str(folder / "notes.db")})
        config["databases"]["audit"]["path"] = str(folder / "audit.db")
        for tenant in config["tenants"].values():
            tenant["path"] = str(folder / "{name}.db")
        shop.config.from_dict(config)
        shop.wire(modules=[sys.modules[views.__name__]])
        with shop.notes.database().transaction() as db:
            db.execute("INSERT INTO note (title) VALUES ('notes of stray')")
        return cast(Shop, shop)

    yield later
    for shop in made:
        shutdown(shop)


def ask(app: Flask, name: str) -> str:
    with app.test_client().get(f"/{name}") as response:
        return response.get_data(as_text=True)


def answers(app: Flask, names: list[str]) -> dict[str, str]:
    return {name: ask(app, name) for name in names}


def all_of(name: str) -> dict[str, str]:
    return dict.fromkeys(views.NAMES, f"notes of {name}")


def test_each_of_two_apps_gets_its_own(make_app: MakeApp) -> None:
    """Both apps get their own databases, services and options, whichever was wired last."""
    one, two = make_app("one", share), make_app("two", share)
    fill(one)
    fill(two)
    for app in (one, two, one):
        assert answers(app, views.NAMES) == all_of(app.name)
    assert out(one) == out(two) == 0
    assert nothing_lost(one)
    assert nothing_lost(two)


@pytest.mark.parametrize("name", ["database", "service", "option", "string-option", "repository"])
def test_the_first_request_gets_its_own_app(make_app: MakeApp, name: str) -> None:
    """The very first injection of an app that was not wired last is already its own."""
    one, two = make_app("one", share), make_app("two", share)
    fill(one)
    fill(two)
    assert ask(one, name) == "notes of one"
    assert ask(two, name) == "notes of two"


def test_each_of_two_apps_gets_its_own_tenants(make_app: MakeApp) -> None:
    """Tenants of the same name are different databases in different apps."""
    one, two = make_app("one", share), make_app("two", share)
    fill(one)
    fill(two)
    for app in (one, two, one):
        expected = f"tenants.acme of {app.name}"
        assert answers(app, ["tenant", "tenant-by-class"]) == dict.fromkeys(
            ["tenant", "tenant-by-class"], expected
        )


def test_an_app_made_after_another_served_requests_changes_nothing(make_app: MakeApp) -> None:
    """An app that was served before another was made is served the same way afterwards."""
    one = make_app("one", share)
    fill(one)
    assert answers(one, views.NAMES) == all_of("one")
    two = make_app("two", share)
    fill(two)
    assert answers(one, views.NAMES) == all_of("one")
    assert answers(two, views.NAMES) == all_of("two")


@pytest.mark.parametrize("name", views.NAMES)
def test_a_container_without_an_app_takes_nothing_over(
    make_app: MakeApp, stray: Callable[[], Shop], name: str
) -> None:
    """A container that is only instantiated, and wired, later does not change what an app gets."""
    one = make_app("one", share)
    fill(one)
    assert ask(one, "connection") == "notes of one"
    stray()
    assert ask(one, name) == "notes of one"


def test_a_container_that_is_gone_leaves_the_apps_alone(make_app: MakeApp, tmp_path: Path) -> None:
    """An app goes on when the container that was wired last was shut down and dropped."""
    one = make_app("one", share)
    fill(one)
    with factory(tmp_path / "more", views.__name__) as make:
        fill(make("two", share))
    assert answers(one, views.NAMES) == all_of("one")


@pytest.mark.parametrize("requests_before", [True, False])
def test_a_container_that_is_unwired_leaves_the_apps_alone(
    make_app: MakeApp, stray: Callable[[], Shop], requests_before: bool
) -> None:
    """Both apps get their own after a third container was wired to their views, and unwired."""
    one, two = make_app("one", share), make_app("two", share)
    for app in (one, two):
        fill(app)
        if requests_before:
            ask(app, "connection")
    cast(Any, stray()).unwire()
    for app in (one, two, one):
        assert answers(app, views.NAMES) == all_of(app.name)
    assert out(one) == out(two) == 0


def test_outside_of_apps_an_unwired_container_provides_nothing_more(
    make_app: MakeApp, stray: Callable[[], Shop]
) -> None:
    """Where no app is current, the newest app's container takes the place of one unwired."""
    apps = [make_app(name, share) for name in ("one", "two")]
    other: Any = stray()
    assert views.option() == "notes of stray"
    other.unwire()
    assert views.option() == "notes of two"
    assert [ask(app, "connection") for app in map(filled, apps)] == ["notes of one", "notes of two"]


def filled(app: Flask) -> Flask:
    fill(app)
    return app


def test_unwiring_does_not_end_what_is_closed_after_a_view(
    tmp_path: Path, stray: Callable[[], Shop]
) -> None:
    """A user's own `Closing[...]` goes on closing its resource after another was unwired."""
    events: list[str] = []

    def opened() -> Iterator[str]:
        yield "open"
        events.append("closed")

    class Closed(Shop):
        it = providers.Resource(opened)

    @inject
    def index(it: str = Closing[Provide[Closed.it]]) -> str:
        return it

    index.__module__ = views.__name__
    one, shop = new_app(tmp_path / "one", "one"), cast(Any, Closed)()
    one.add_url_rule("/index", view_func=index)
    shop.config.from_dict(settings(tmp_path / "one", "one", {}))
    shop.wire(modules=[views])
    init_app(one, shop)
    assert ask(one, "index") == "open"
    cast(Any, stray()).unwire()
    assert ask(one, "index") == "open"
    assert events == ["closed", "closed"]
    shutdown(shop)
    registry: Any = wiring._patched_registry
    del registry._callables[index]


def test_an_explicit_call_on_another_container_stays_explicit(
    make_app: MakeApp, stray: Callable[[], Shop]
) -> None:
    """Inside of an app context, another container's provider gives that container's database."""
    one = make_app("one", share)
    fill(one)
    other = stray()
    with one.app_context():
        assert views.title(other.notes.connection()) == "notes of stray"
        assert views.title(other.notes.connection()) == "notes of stray"
        assert other.repository().titles() == ["notes of stray"]
        assert other.archive().titles() == ["notes of stray"]
        assert views.title(container_of(one).notes.connection()) == "notes of one"
        assert views.title(other.notes.connection()) == "notes of stray"
    assert other.notes.database().holders() == []
    assert out(one) == 0


def test_an_explicit_call_between_two_apps_stays_explicit(make_app: MakeApp) -> None:
    """One app's context can read another app's database, if it says so."""
    one, two = make_app("one", share), make_app("two", share)
    fill(one)
    fill(two)
    with one.app_context():
        assert views.title(container_of(two).notes.connection()) == "notes of two"
        assert views.title(views.deeper()) == "notes of one"
    assert out(one) == out(two) == 0


def test_a_singleton_of_each_app_is_one_object(make_app: MakeApp) -> None:
    """A Singleton service is one per app, not one per request and not one for all apps."""
    one, two = make_app("one", share), make_app("two", share)
    archives = [container_of(app).archive() for app in (one, two, one, two)]
    assert archives[0] is archives[2]
    assert archives[1] is archives[3]
    assert archives[0] is not archives[1]


def test_two_apps_serve_at_the_same_time(make_app: MakeApp) -> None:
    """Requests to two apps from many threads never see the other app's data."""
    apps = [make_app("one", share), make_app("two", share)]
    for app in apps:
        fill(app)
    wrong: list[str] = []

    def work(app: Flask) -> None:
        for name in views.NAMES:
            answer = ask(app, name)
            if answer != f"notes of {app.name}":
                wrong.append(f"{app.name} {name}: {answer}")

    threads = [threading.Thread(target=work, args=[app]) for app in apps * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [out(app) for app in apps] == [0, 0]


def test_an_app_inside_of_another_apps_context_gets_its_own(make_app: MakeApp) -> None:
    """A request to one app, made while another app's context is active, uses the first's own."""
    one, two = make_app("one", share), make_app("two", share)
    fill(one)
    fill(two)
    with one.app_context():
        assert views.title(views.deeper()) == "notes of one"
        assert ask(two, "connection") == "notes of two"
        assert views.title(views.deeper()) == "notes of one"
    assert out(one) == out(two) == 0


def test_an_override_in_one_app_does_not_reach_the_other(make_app: MakeApp) -> None:
    """`container.notes.connection.override()` is for that container's app alone."""
    one, two = make_app("one", share), make_app("two", share)
    fill(one)
    fill(two)
    ask(one, "connection")
    fake = container_of(one).audit.connection
    with container_of(one).notes.connection.override(cast("providers.Provider[Connection]", fake)):
        assert ask(one, "connection") == "audit of one"
        assert ask(one, "repository") == "audit of one"
        assert ask(one, "string") == "audit of one"
        assert ask(two, "connection") == "notes of two"
    assert ask(one, "connection") == "notes of one"
    assert out(one) == 0


def test_overriding_with_another_containers_connection_is_respected(
    make_app: MakeApp, stray: Callable[[], Shop]
) -> None:
    """A connection that another container's provider overrides comes from that container."""
    one = make_app("one", share)
    fill(one)
    other = stray()
    with container_of(one).notes.connection.override(
        cast("providers.Provider[Connection]", other.notes.connection)
    ):
        assert ask(one, "connection") == "notes of stray"
        assert ask(one, "connection") == "notes of stray"
    assert ask(one, "connection") == "notes of one"


def test_overriding_a_whole_database_with_another_containers_is_respected(
    make_app: MakeApp, stray: Callable[[], Shop]
) -> None:
    """A database that another container's `SQLite` overrides is that container's."""
    one = make_app("one", share)
    fill(one)
    other = stray()
    with container_of(one).notes.override(cast("Any", other.notes)):
        assert ask(one, "connection") == "notes of stray"
        assert ask(one, "reader") == "notes of stray"
        assert ask(one, "database") == "notes of stray"
        assert ask(one, "repository") == "notes of stray"
    assert ask(one, "connection") == "notes of one"
