"""A request that is still reading when its database closes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dependency_injector.wiring import Provide, inject
from flask import Flask, Response, stream_with_context
from flask.typing import ResponseReturnValue

from common.shop import MakeApp, Shop, container_of
from sqlite_container import Connection, Database, StatementInterrupted

PATIENCE = 20.0
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


def rows(db: Connection, started: threading.Event) -> Iterator[str]:
    for (number,) in db.execute(ENDLESS):
        started.set()
        if not number % 10_000:
            yield str(number)


def in_the_view(db: Connection, database: Database, started: threading.Event) -> str:
    return "".join(rows(db, started))


def in_a_block(db: Connection, database: Database, started: threading.Event) -> str:
    with database.connection() as other:
        return "".join(rows(other, started))


def counting(db: Connection, database: Database, started: threading.Event) -> str:
    started.set()
    return str(db.execute(f"SELECT count(*) FROM ({ENDLESS})").fetchone())


@pytest.fixture
def close_amid(make_app: MakeApp) -> Iterator[Callable[..., Flask]]:
    """Make an app whose database closes while its view answers, and leaves nothing behind."""
    closers = []

    def make(answer: Callable[[Connection, Database, threading.Event], Any]) -> Flask:
        started = threading.Event()

        def register(app: Flask) -> None:
            @app.get("/")
            @inject
            def index(db: Connection = Provide[Shop.notes.connection]) -> Any:
                return answer(db, container_of(app).notes.database(), started)

        app = make_app("one", register)

        def close() -> None:
            started.wait(PATIENCE)
            container_of(app).notes.database().close(PATIENCE)

        closers.append(threading.Thread(target=close))
        closers[-1].start()
        return app

    yield make
    for closer in closers:
        closer.join()


@pytest.mark.parametrize("answer", [in_the_view, in_a_block, counting])
def test_the_answer_is_503(
    close_amid: Callable[..., Flask],
    answer: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However it reads, the client may try again later; the log has one line that says why."""
    app = close_amid(answer)
    with app.test_client().get("/") as response:
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
    assert "'notes'" in caplog.text
    assert "closing" in caplog.text
    assert "Traceback" not in caplog.text


def test_the_apps_handler_for_interrupted_statements_is_asked(
    close_amid: Callable[..., Flask],
) -> None:
    """It need not know whether sqlite3 or this package noticed."""
    app = close_amid(in_the_view)
    app.register_error_handler(StatementInterrupted, lambda _: ("come back later", 418))
    with app.test_client().get("/") as response:
        assert response.status_code == 418


def test_a_stream_ends_with_an_error_that_says_why(close_amid: Callable[..., Flask]) -> None:
    """The status is sent already; the server is told why the body has no end."""
    app = close_amid(lambda db, _, started: rows(db, started))
    with (
        app.test_client().get("/") as response,
        pytest.raises(StatementInterrupted, match=r"'notes'.*closing"),
    ):
        list(response.response)


def test_a_stream_that_uses_its_database_first(make_app: MakeApp) -> None:
    """The same where the view itself had no connection."""
    started = threading.Event()

    def register(app: Flask) -> None:
        @app.get("/")
        def index() -> Response:
            def body() -> Iterator[str]:
                yield "first"
                yield from rows(container_of(app).notes.reader(), started)

            return Response(stream_with_context(body()))

    app = make_app("one", register)
    database = container_of(app).notes.database()

    def close() -> None:
        started.wait(PATIENCE)
        database.close(PATIENCE)

    closer = threading.Thread(target=close)
    closer.start()
    with (
        app.test_client().get("/") as response,
        pytest.raises(StatementInterrupted, match=r"'notes'.*closing"),
    ):
        list(response.response)
    closer.join()


def fails(error: Exception) -> Callable[[Flask], None]:
    def register(app: Flask) -> None:
        @app.get("/")
        def index() -> str:
            raise error

    return register


def interrupted() -> sqlite3.OperationalError:
    """As sqlite3 raises it when the application itself calls ``interrupt()``."""
    error = sqlite3.OperationalError("interrupted")
    error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
    return error


@pytest.mark.parametrize("error", [sqlite3.OperationalError("no such table"), interrupted()])
def test_other_operational_errors_stay_the_apps(make_app: MakeApp, error: Exception) -> None:
    """What closing has not caused is raised as without this package."""
    app = make_app("one", fails(error))
    with pytest.raises(sqlite3.OperationalError) as caught:
        app.test_client().get("/")
    assert caught.value is error


@pytest.mark.parametrize("handled", [sqlite3.OperationalError, sqlite3.Error, Exception, 500])
def test_other_operational_errors_reach_the_apps_handlers(
    make_app: MakeApp, handled: type[Exception] | int
) -> None:
    """A handler for a base class of it, or for 500, is found as ever."""

    def own(error: Exception) -> ResponseReturnValue:
        return type(error).__name__, 418

    app = make_app("one", fails(sqlite3.OperationalError("no such table")))
    app.testing = False
    app.register_error_handler(handled, own)
    with app.test_client().get("/") as response:
        assert response.status_code == 418
