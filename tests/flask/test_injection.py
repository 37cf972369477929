"""What views, hooks, commands and contexts are given."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any

import pytest
from dependency_injector.wiring import Provide, Provider, inject
from flask import Flask, copy_current_request_context, g

from common import views
from common.shop import MakeApp, Shop, container_of, fill, nothing_lost, out
from sqlite_container import (
    Connection,
    Database,
    NotYourConnection,
    OutsideAppContext,
    ReadOnlyConnection,
)
from sqlite_container.flask import init_app


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app with the shared views and its own name in every database."""

    def register(app: Flask) -> None:
        app.register_blueprint(views.bp)
        app.register_blueprint(views.hooked)

    app = make_app("one", register)
    fill(app)
    return app


@pytest.mark.parametrize("name", views.NAMES)
def test_every_form_of_injection_reaches_the_database(app: Flask, name: str) -> None:
    """A view gets its database in whichever form it asks for it, and gives it back."""
    with app.test_client().get(f"/{name}") as response:
        assert response.get_data(as_text=True) == "notes of one"
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("name", ["tenant", "tenant-by-class"])
def test_a_tenant_is_injected_by_its_name(app: Flask, name: str) -> None:
    """A tenant's database is injected by string identifier and by the class's provider."""
    assert app.test_client().get(f"/{name}").text == "tenants.acme of one"
    assert out(app) == 0


def test_one_request_has_one_connection(app: Flask) -> None:
    """Hooks, views, repositories, providers and nested functions share the request's connection."""
    assert app.test_client().get("/same").json == [True] * 5
    assert container_of(app).notes.database().stats()["requests_num"] == 2  # fill(), and this one


def test_an_error_handler_has_the_connection_of_the_failed_view(app: Flask) -> None:
    """An error handler with an injected connection works in the same request's scope."""
    with app.test_client().get("/fail") as response:
        assert response.get_data(as_text=True) == "True 'notes of one'"
    assert out(app) == 0


def test_two_requests_after_each_other_reuse_the_connection(app: Flask) -> None:
    """Requests one after the other need one connection of the pool."""
    for _ in range(5):
        app.test_client().get("/connection")
    assert container_of(app).notes.database().stats()["pool_size"] == 1


def test_an_app_context_has_one_connection_for_its_length(app: Flask) -> None:
    """`with app.app_context():` lends a connection, and gives it back at its end."""
    shop = container_of(app)
    with app.app_context():
        db = shop.notes.connection()
        assert db is shop.notes.connection()
        assert db is not shop.notes.reader()
        assert out(app) == 2
    assert out(app) == 0


def test_a_nested_app_context_has_its_own_connection(app: Flask) -> None:
    """A nested app context is a scope of its own, and its end leaves the outer one alone."""
    shop = container_of(app)
    with app.app_context():
        outer = shop.notes.connection()
        with app.app_context():
            inner = shop.notes.connection()
            assert inner is not outer
            inner.execute("SELECT 1")
            with pytest.raises(NotYourConnection):
                outer.execute("SELECT 1")
        assert views.title(outer) == "notes of one"
        assert out(app) == 1
        with pytest.raises(NotYourConnection):
            inner.execute("SELECT 1")


def test_a_test_request_context_works_like_a_request(app: Flask) -> None:
    """`with app.test_request_context():` lends and takes back like a request does."""
    with app.test_request_context("/same"):
        assert app.preprocess_request() is None
        assert views.deeper() is g.before
        assert out(app) == 1
        assert "GET /same (hooked.same)" in str(container_of(app).notes.database().holders()[0])
    assert out(app) == 0


def test_outside_of_app_contexts_a_connection_is_refused(app: Flask) -> None:
    """Without an app context an injected function says what to do instead."""
    with pytest.raises(OutsideAppContext, match=r"database\.connection\(\)"):
        views.deeper()
    assert out(app) == 0


def test_an_app_without_init_app_is_refused(app: Flask) -> None:
    """An app that would never give a connection back is told to call `init_app`."""
    with (
        Flask("stranger").app_context(),
        pytest.raises(OutsideAppContext, match=r"stranger.*init_app"),
    ):
        views.deeper()


def test_a_second_init_app_is_refused(app: Flask) -> None:
    """An app has one container."""
    with pytest.raises(ValueError, match="already"):
        init_app(app, app.extensions["sqlite_container"])


def test_init_app_says_where_the_container_is(app: Flask) -> None:
    """`app.container` and `app.extensions` name the container."""
    assert vars(app)["container"] is app.extensions["sqlite_container"]


def test_a_command_has_a_connection_of_its_own(make_app: MakeApp) -> None:
    """CLI commands get an injected connection, and give it back."""
    said: list[object] = []

    def register(app: Flask) -> None:
        @app.cli.command("count")
        @inject
        def count(db: Connection = Provide[Shop.notes.connection]) -> None:
            said.extend(db.execute("SELECT count(*) FROM note").fetchone())

    app = make_app("one", register)
    result = app.test_cli_runner().invoke(args=["count"])
    assert result.exception is None
    assert said == [0]
    assert out(app) == 0


def test_a_thread_with_the_request_copied_has_its_own_connection(make_app: MakeApp) -> None:
    """`copy_current_request_context` gives a thread a scope, and so a connection, of its own."""
    seen: list[Connection] = []

    def register(app: Flask) -> None:
        @app.get("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]) -> str:
            @copy_current_request_context
            def work() -> None:
                seen.append(views.deeper())
                seen[0].execute("SELECT 1")

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return str(db is not seen[0])

    app = make_app("one", register)
    assert app.test_client().get("/").text == "True"
    assert out(app) == 0


def test_threads_in_one_context_get_one_connection(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that run in one app context and ask at the same moment get the same connection."""
    lend = Database.lend

    def slowly(self: Database, borrower: Any, *, read_only: bool) -> Connection:
        time.sleep(0.02)
        return lend(self, borrower, read_only=read_only)

    monkeypatch.setattr(Database, "lend", slowly)
    barrier = threading.Barrier(4)
    got: list[Connection] = []

    def work() -> None:
        barrier.wait()
        got.append(container_of(app).notes.connection())

    with app.app_context():
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=[work]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 4
        assert len(set(got)) == 1
        assert out(app) == 1
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_plain_thread_of_a_request_is_refused_the_connection(make_app: MakeApp) -> None:
    """A thread without the request's context cannot use the request's connection."""
    errors: list[Exception] = []

    def register(app: Flask) -> None:
        @app.get("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]) -> str:
            def work() -> None:
                try:
                    db.execute("SELECT 1")
                except Exception as error:  # noqa: BLE001
                    errors.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return str(db.execute("SELECT 1").fetchone()[0])

    app = make_app("one", register)
    assert app.test_client().get("/").text == "1"
    assert [type(error) for error in errors] == [NotYourConnection]


def test_an_async_view_keeps_its_connection_over_awaits(make_app: MakeApp) -> None:
    """An async view and everything that it awaits have one connection."""
    import asyncio

    async def part() -> Connection:
        await asyncio.sleep(0)
        db = views.deeper()
        db.execute("SELECT 1").fetchall()
        return db

    def register(app: Flask) -> None:
        @app.get("/")
        @inject
        async def index(db: Connection = Provide[Shop.notes.connection]) -> str:
            parts = await asyncio.gather(part(), part(), part())
            with db:
                db.execute("INSERT INTO note (title) VALUES ('async')")
            return str({each is db for each in parts})

    app = make_app("one", register)
    assert app.test_client().get("/").text == "{True}"
    assert out(app) == 0
    assert nothing_lost(app)


def test_an_injected_reader_refuses_to_write(make_app: MakeApp) -> None:
    """A write through `.reader` is an error that names the cure."""

    def register(app: Flask) -> None:
        @app.get("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.reader]) -> str:
            db.execute("INSERT INTO note (title) VALUES ('x')")
            return "written"

    with pytest.raises(ReadOnlyConnection, match=r"\.connection"):
        make_app("one", register).test_client().get("/")


def test_signals_see_the_connection_of_their_request(make_app: MakeApp) -> None:
    """A receiver of `request_started` and one of `request_finished` share the connection."""
    from flask import request_finished, request_started

    seen: list[Connection] = []

    def receive(sender: Flask, **_: Any) -> None:
        seen.append(views.deeper())

    app = make_app("one", lambda app: app.add_url_rule("/", view_func=lambda: "fine"))
    with request_started.connected_to(receive, app), request_finished.connected_to(receive, app):
        assert app.test_client().get("/").text == "fine"
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert out(app) == 0


def test_init_app_and_views_open_nothing(make_app: MakeApp) -> None:
    """Neither `create_app()` nor a view without a database opens one; the first use opens one."""
    app = make_app("one", lambda app: app.register_blueprint(views.bp))
    shop = container_of(app)
    databases = [shop.notes.database, shop.audit.database, shop.tenants["acme"].database]
    assert not any(each.initialized for each in databases)
    app.add_url_rule("/plain", view_func=lambda: "plain")
    assert app.test_client().get("/plain").text == "plain"
    assert not any(each.initialized for each in databases)
    with app.app_context():
        shop.notes.reader()
    assert [each.initialized for each in databases] == [True, False, False]


def test_a_provider_of_connections_may_be_injected(make_app: MakeApp) -> None:
    """By its ``.provider``, or as ``Provider[...]``: it gives the request's own when called."""

    @inject
    def index(
        first: Any = Provide[Shop.notes.connection.provider],
        second: Any = Provider[Shop.notes.connection],
    ) -> str:
        return str(first() is second() and second().execute("SELECT 7").fetchone()[0])

    app = make_app("one", lambda app: app.add_url_rule("/", view_func=index))
    assert app.test_client().get("/").text == "7"
    assert nothing_lost(app)
