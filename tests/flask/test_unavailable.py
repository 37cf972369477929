"""503 for what passes by itself, and the app's own answers before that."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from dependency_injector.wiring import Provide, inject
from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable

from common.shop import MakeApp, Shop, container_of, nothing_lost, out
from sqlite_container import (
    Connection,
    DatabaseBusy,
    DatabaseClosed,
    PoolTimeout,
    SQLiteContainerError,
    TooManyRequests,
)


def failing(error: type[Exception]) -> Callable[[Flask], None]:
    def register(app: Flask) -> None:
        @app.get("/")
        def index() -> str:
            raise error("too much")

    return register


@pytest.mark.parametrize("error", [PoolTimeout, TooManyRequests, DatabaseBusy, DatabaseClosed])
def test_what_passes_by_itself_is_answered_503(
    make_app: MakeApp, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is 503 with Retry-After, without internals; the log has the reason."""
    app = make_app("one", failing(error))
    with app.test_client().get("/") as response:
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "too much" not in response.get_data(as_text=True)
    assert "too much" in caplog.text


def test_other_errors_are_not_answered(make_app: MakeApp) -> None:
    """An error that does not pass by itself stays the app's."""
    app = make_app("one", failing(sqlite3.IntegrityError))
    with pytest.raises(sqlite3.IntegrityError):
        app.test_client().get("/")


def test_an_exhausted_pool_is_answered_503(make_app: MakeApp) -> None:
    """A request that gets no connection in time is answered 503, and nothing is lost."""

    def register(app: Flask) -> None:
        @app.get("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]) -> str:
            return "fine"

    app = make_app("one", register, pool={"max_size": 1, "timeout": 0.05})
    with container_of(app).notes.database().connection():
        with app.test_client().get("/") as response:
            assert response.status_code == 503
        assert out(app) == 1
    with app.test_client().get("/") as response:
        assert response.get_data(as_text=True) == "fine"
    assert out(app) == 0


def test_a_busy_database_is_answered_503(make_app: MakeApp) -> None:
    """A request that waits too long for its turn to write is answered 503, and gives back."""

    def register(app: Flask) -> None:
        @app.post("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]) -> str:
            with db:
                return "fine"

    app = make_app("one", register, busy_timeout=0.05)
    import threading

    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with container_of(app).notes.database().transaction():
            holds.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    with app.test_client().post("/") as response:
        assert response.status_code == 503
    done.set()
    thread.join()
    assert out(app) == 0
    assert nothing_lost(app)


def own(error: Exception) -> ResponseReturnValue:
    return f"own {type(error).__name__}", 418


@pytest.mark.parametrize("before", [True, False], ids=["before init_app", "after init_app"])
@pytest.mark.parametrize(
    "handled",
    [
        DatabaseBusy,
        SQLiteContainerError,
        sqlite3.OperationalError,
        sqlite3.Error,
        Exception,
        503,
        ServiceUnavailable,
    ],
)
def test_the_apps_own_handler_wins(
    make_app: MakeApp, handled: type[Exception] | int, before: bool
) -> None:
    """A handler of the app for the error, a base of it, or for 503 answers instead of ours."""

    def register(app: Flask) -> None:
        failing(DatabaseBusy)(app)
        if before:
            app.register_error_handler(handled, own)

    app = make_app("one", register)
    if not before:
        app.register_error_handler(handled, own)
    with app.test_client().get("/") as response:
        assert response.status_code == 418
        assert response.get_data(as_text=True).startswith("own")


def test_a_blueprints_own_handler_wins(make_app: MakeApp) -> None:
    """A blueprint's handler for a base of the error answers instead of ours."""

    def register(app: Flask) -> None:
        blueprint = Blueprint("blueprint", __name__)

        @blueprint.get("/")
        def index() -> str:
            raise DatabaseBusy("busy")

        blueprint.register_error_handler(sqlite3.Error, own)
        app.register_blueprint(blueprint)

    with make_app("one", register).test_client().get("/") as response:
        assert response.status_code == 418
