"""The end of a request: everything goes back, once, whatever happened in it."""

from __future__ import annotations

import gc
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dependency_injector.wiring import Provide, inject
from flask import Flask, Response, abort, appcontext_popped, appcontext_tearing_down, g
from flask.typing import ResponseReturnValue

from common.shop import MakeApp, Shop, container_of, nothing_lost, out
from sqlite_container import Connection, LeakWarning, NotYourConnection, UncommittedWarning

kept: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    kept.clear()


def add(db: Connection, title: str = "x") -> None:
    db.execute("INSERT INTO note (title) VALUES (?)", (title,))


def count(app: Flask) -> int:
    with container_of(app).notes.database().reader() as db:
        return int(db.execute("SELECT count(*) FROM note").fetchone()[0])


def view(do: Callable[[Connection], ResponseReturnValue]) -> Callable[[Flask], None]:
    """An app's registration with one view, at `/`, that does this with its connection."""

    def register(app: Flask) -> None:
        @app.route("/", methods=["GET", "POST"])
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]) -> ResponseReturnValue:
            return do(db)

    return register


def test_a_committed_write_stays(make_app: MakeApp) -> None:
    """`with db:` in a view commits, and the connection goes back without a word."""

    def do(db: Connection) -> str:
        with db:
            add(db)
        return "done"

    app = make_app("one", view(do))
    assert app.test_client().post("/").status_code == 200
    assert count(app) == 1
    assert out(app) == 0
    assert nothing_lost(app)


def test_uncommitted_work_is_rolled_back_with_a_warning(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """A forgotten commit is undone; warning and log name the request, the view and the cure."""

    def do(db: Connection) -> str:
        add(db)
        return "forgotten"

    app = make_app("one", view(do))
    with (
        caplog.at_level(logging.WARNING, "sqlite_container"),
        pytest.warns(UncommittedWarning, match=r"POST / \(index\)") as caught,
    ):
        assert app.test_client().post("/").text == "forgotten"
    assert count(app) == 0
    assert out(app) == 0
    assert nothing_lost(app)
    assert "with db:" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert "POST / (index)" in caplog.text


def test_a_failed_view_gives_back(make_app: MakeApp) -> None:
    """A view that raises in its block leaves nothing written and nothing lent."""

    def do(db: Connection) -> str:
        with db:
            add(db)
            raise LookupError("in the middle")

    app = make_app("one", view(do))
    with pytest.raises(LookupError):
        app.test_client().post("/")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert app.test_client().post("/").status_code == 500
    assert count(app) == 0
    assert out(app) == 0
    assert nothing_lost(app)


def test_abort_gives_back(make_app: MakeApp) -> None:
    """`abort()` is an end like any other."""

    def do(db: Connection) -> str:
        db.execute("SELECT * FROM note")
        abort(404)

    app = make_app("one", view(do))
    assert app.test_client().get("/").status_code == 404
    assert out(app) == 0
    assert nothing_lost(app)


def test_abort_inside_a_block_rolls_back(make_app: MakeApp) -> None:
    """`abort()` inside `with db:` undoes what was written, without a warning."""

    def do(db: Connection) -> str:
        with db:
            add(db)
            abort(409)

    app = make_app("one", view(do))
    assert app.test_client().post("/").status_code == 409
    assert count(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("first", [True, False], ids=["before init_app", "after init_app"])
def test_a_teardown_function_that_raises_keeps_nothing_out(make_app: MakeApp, first: bool) -> None:
    """A `teardown_appcontext` function that raises does not keep a connection from going back."""

    def teardown(_: BaseException | None) -> None:
        raise LookupError("teardown")

    def register(app: Flask) -> None:
        view(lambda db: str(db.execute("SELECT 1").fetchone()[0]))(app)
        if first:
            app.teardown_appcontext(teardown)

    app = make_app("one", register)
    if not first:
        app.teardown_appcontext(teardown)
    with pytest.raises(LookupError, match="teardown"):
        app.test_client().get("/")
    assert out(app) == 0
    app.teardown_appcontext_funcs.remove(teardown)
    assert nothing_lost(app)


def test_a_teardown_request_function_that_raises_keeps_nothing_out(make_app: MakeApp) -> None:
    """A `teardown_request` function that raises does not keep a connection from going back."""

    def register(app: Flask) -> None:
        view(lambda db: "fine")(app)

        @app.teardown_request
        def teardown(_: BaseException | None) -> None:
            raise LookupError("teardown")

    app = make_app("one", register)
    with pytest.raises(LookupError, match="teardown"):
        app.test_client().get("/")
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("first", [True, False], ids=["before init_app", "after init_app"])
def test_a_teardown_function_can_use_the_database(make_app: MakeApp, first: bool) -> None:
    """What a `teardown_appcontext` function borrows goes back too, whenever it was registered."""

    def teardown(_: BaseException | None) -> None:
        with container_of(app).audit.connection() as db:
            add(db)

    def register(app: Flask) -> None:
        view(lambda db: "fine")(app)
        if first:
            app.teardown_appcontext(teardown)

    app = make_app("one", register)
    if not first:
        app.teardown_appcontext(teardown)
    assert app.test_client().get("/").text == "fine"
    assert out(app) == 0


def test_a_teardown_request_function_shares_the_connection(make_app: MakeApp) -> None:
    """A `teardown_request` function still has the request's connection."""

    def register(app: Flask) -> None:
        def do(db: Connection) -> str:
            g.db = db
            return "fine"

        view(do)(app)

        @app.teardown_request
        @inject
        def teardown(
            _: BaseException | None, db: Connection = Provide[Shop.notes.connection]
        ) -> None:
            kept.append(db is g.db)

    app = make_app("one", register)
    assert app.test_client().get("/").text == "fine"
    assert kept == [True]
    assert out(app) == 0


def test_everything_is_back_before_the_context_is_popped(make_app: MakeApp) -> None:
    """When `appcontext_popped` is sent, the connections are back already."""
    app = make_app("one", view(lambda db: "fine"))

    def receive(sender: Flask, **_: Any) -> None:
        kept.append(out(app))

    with appcontext_popped.connected_to(receive, app):
        app.test_client().get("/")
    assert kept == [0]


def test_an_after_request_function_that_raises_keeps_nothing_out(make_app: MakeApp) -> None:
    """An error in an `after_request` function is an end like any other."""

    def register(app: Flask) -> None:
        view(lambda db: "fine")(app)

        @app.after_request
        def fail(response: Any) -> Any:
            raise LookupError("after")

    app = make_app("one", register)
    app.testing = False
    assert app.test_client().get("/").status_code == 500
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_half_read_cursor_that_was_kept_holds_nothing(make_app: MakeApp) -> None:
    """A cursor in a global no longer holds a read transaction: the WAL can be truncated."""

    def do(db: Connection) -> str:
        cursor = db.execute("SELECT * FROM note")
        kept.append(cursor)
        return str(cursor.fetchone()[1])

    app = make_app("one", view(do))
    database = container_of(app).notes.database()
    with database.transaction() as db:
        for number in range(100):
            add(db, str(number))
    assert app.test_client().get("/").text == "0"
    with database.transaction() as db:
        add(db)
    with database.connection() as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    with pytest.raises(NotYourConnection):
        kept[0].fetchone()


def test_a_kept_connection_is_refused_after_the_request(make_app: MakeApp) -> None:
    """A connection used after its request raises, and so does every cursor of it."""

    def do(db: Connection) -> str:
        kept.extend([db, db.cursor(), db.execute("SELECT 1 UNION SELECT 2")])
        return "kept"

    app = make_app("one", view(do))
    app.test_client().get("/")
    db, cursor, read = kept
    uses: list[Callable[[], object]] = [
        lambda: db.execute("SELECT 1"),
        lambda: db.executemany("INSERT INTO note (title) VALUES (?)", [("x",)]),
        lambda: db.executescript("SELECT 1"),
        db.cursor,
        db.commit,
        db.rollback,
        db.__enter__,
        lambda: db.blobopen("note", "title", 1),
        lambda: cursor.execute("SELECT 1"),
        read.fetchone,
        lambda: list(read),
    ]
    for use in uses:
        with pytest.raises(NotYourConnection, match="went back"):
            use()
    with app.app_context(), pytest.raises(NotYourConnection):
        db.execute("SELECT 1")


def test_a_kept_connection_is_refused_while_somebody_else_has_it(make_app: MakeApp) -> None:
    """Used from another thread or another app context, a lent connection is refused."""

    def do(db: Connection) -> str:
        if not kept:
            kept.append(db)
            return "kept"
        assert db is kept[0]
        errors: list[BaseException] = []

        def work() -> None:
            try:
                kept[0].execute("SELECT 1")
            except Exception as error:  # noqa: BLE001
                errors.append(error)

        def work_in_a_context() -> None:
            with app.app_context():
                work()

        for target in (work, work_in_a_context):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        with app.app_context():
            work()
        assert db.execute("SELECT 1").fetchone() == (1,)
        return " ".join(type(error).__name__ for error in errors)

    app = make_app("one", view(do), pool={"max_size": 1})
    assert app.test_client().get("/").text == "kept"
    assert app.test_client().get("/").text == "NotYourConnection " * 2 + "NotYourConnection"
    assert nothing_lost(app)


def test_a_kept_connection_in_its_new_owners_context_cannot_be_told_apart(
    make_app: MakeApp,
) -> None:
    """In the thread and context of the request that has it now, a kept reference is its own."""

    def do(db: Connection) -> str:
        if kept:
            with kept[0] as old:  # one object: the kept one and this request's own
                add(old)
            return str(kept[0] is db)
        kept.append(db)
        return "kept"

    app = make_app("one", view(do))
    app.test_client().get("/")
    assert app.test_client().get("/").text == "True"
    assert count(app) == 1


def test_the_next_borrower_finds_a_connection_as_configured(make_app: MakeApp) -> None:
    """What a view changes on its connection is not there for the next."""
    import sqlite3

    def do(db: Connection) -> str:
        seen = f"{db.row_factory} {db.text_factory.__name__} {db.isolation_level}"
        db.row_factory, db.text_factory = sqlite3.Row, bytes
        db.isolation_level = None
        return seen

    app = make_app("one", view(do))
    client = app.test_client()
    assert client.get("/").text == client.get("/").text == "None str IMMEDIATE"


def test_a_view_may_close_its_connection(make_app: MakeApp) -> None:
    """That gives it back: nobody waits for it any more, and another injection gets one again."""

    def do(db: Connection) -> str:
        db.close()
        assert container_of(app).notes.database().stats()["pool_available"] == 1
        with pytest.raises(NotYourConnection):
            db.execute("SELECT 1")
        again: Connection = container_of(app).notes.connection()
        again.execute("SELECT 1")
        db.close()
        return "closed"

    app = make_app("one", view(do))
    for _ in range(3):
        assert app.test_client().get("/").text == "closed"
    assert out(app) == 0
    assert container_of(app).notes.database().stats()["pool_size"] == 1


def test_a_preserved_context_can_use_the_database_again(make_app: MakeApp) -> None:
    """Inside of `with client:` the connection went back with the request; another can be had."""

    def do(db: Connection) -> str:
        g.db = db
        return "fine"

    app = make_app("one", view(do))
    with app.test_client() as client:
        client.get("/")
        assert out(app) == 0
        with pytest.raises(NotYourConnection):
            g.db.execute("SELECT 1")
        again = container_of(app).notes.connection()
        assert again.execute("SELECT 1").fetchone() == (1,)
        assert out(app) == 1
        client.get("/")
        assert out(app) == 0
        container_of(app).notes.connection()
    assert out(app) == 0
    assert nothing_lost(app)


def test_requests_inside_one_app_context_leave_nothing_out(make_app: MakeApp) -> None:
    """A client used inside of `with app.app_context():` gives all back at the latest at its end."""
    app = make_app("one", view(lambda db: "fine"))
    with app.app_context():
        for _ in range(3):
            assert app.test_client().get("/").text == "fine"
        assert out(app) <= 1
    assert out(app) == 0
    assert nothing_lost(app)


def test_one_failing_database_does_not_keep_the_others_out(make_app: MakeApp) -> None:
    """Uncommitted work in two databases is rolled back in both, with one warning each."""

    def register(app: Flask) -> None:
        @app.post("/")
        @inject
        def index(
            notes: Connection = Provide[Shop.notes.connection],
            audit: Connection = Provide[Shop.audit.connection],
            tenant: Connection = Provide["tenants.acme.connection"],
        ) -> str:
            for db in (notes, audit, tenant):
                add(db)
            return "three"

    app = make_app("one", register)
    with pytest.warns(UncommittedWarning) as caught:
        app.test_client().post("/")
    found = [re.search(r"database '([\w.]+)'", str(each.message)) for each in caught]
    assert sorted(match[1] for match in found if match) == ["audit", "notes", "tenants.acme"]
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_warnings_are_errors_everything_still_goes_back(make_app: MakeApp) -> None:
    """Under `-W error` an uncommitted transaction keeps nothing out and breaks no response."""
    seen: list[object] = []

    def register(app: Flask) -> None:
        @app.post("/")
        @inject
        def index(
            notes: Connection = Provide[Shop.notes.connection],
            audit: Connection = Provide[Shop.audit.connection],
        ) -> str:
            add(notes)
            add(audit)
            return "two"

    app = make_app("one", register)
    import sys

    hook, sys.unraisablehook = sys.unraisablehook, lambda what: seen.append(what.exc_type)
    try:
        assert app.test_client().post("/").text == "two"
    finally:
        sys.unraisablehook = hook
    assert seen == [UncommittedWarning, UncommittedWarning]
    assert out(app) == 0
    assert nothing_lost(app)


def test_many_requests_of_many_threads_all_give_back(make_app: MakeApp) -> None:
    """Sixteen threads on a pool of two: each request is served, and nothing stays out."""

    def do(db: Connection) -> str:
        with db:
            add(db)
        return "done"

    app = make_app("one", view(do), pool={"max_size": 2, "timeout": 10})
    answers: list[str] = []

    def work() -> None:
        for _ in range(5):
            answers.append(app.test_client().post("/").text)  # noqa: PERF401

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["done"] * 80
    assert count(app) == 80
    assert out(app) == 0
    assert nothing_lost(app)


def test_while_a_body_is_sent_only_the_body_uses_the_connection(make_app: MakeApp) -> None:
    """Neither an unrelated thread nor another context gets at it between two parts."""

    def do(db: Connection) -> ResponseReturnValue:
        kept.append(db)
        return Response(str(db.execute("SELECT ?", (i,)).fetchone()[0]) for i in range(3))

    app = make_app("one", view(do))
    response = app.test_client().get("/")
    parts = response.iter_encoded()
    assert next(parts) == b"0"
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(NotYourConnection):
            executor.submit(kept[0].execute, "SELECT 1").result(20)
        with app.app_context(), pytest.raises(NotYourConnection):
            kept[0].execute("SELECT 1")
        assert executor.submit(next, parts).result(20) == b"1"  # some servers do so
    assert list(parts) == [b"2"]
    response.close()
    assert nothing_lost(app)


def test_a_context_that_a_dead_thread_has_left_gives_back(make_app: MakeApp) -> None:
    """It is found by who waits, though it may hang in a circle of references."""
    app = make_app("one", lambda _: None, pool={"max_size": 1, "timeout": 20})

    def leave() -> None:
        context = app.app_context()
        context.push()
        context.g.circle = context
        container_of(app).notes.connection().execute("SELECT 1")

    gc.disable()
    try:
        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        with pytest.warns(LeakWarning, match="borrower is gone"):
            assert count(app) == 0
    finally:
        gc.enable()


def test_what_a_tearing_down_handler_borrows_goes_back(make_app: MakeApp) -> None:
    """The last that runs in a context may use the database as everybody does."""
    app = make_app("one")
    seen = []

    def last_words(_: Flask, **__: object) -> None:
        seen.append(container_of(app).notes.connection().execute("SELECT 7").fetchone()[0])

    with appcontext_tearing_down.connected_to(last_words, app), app.app_context():
        assert seen == []
    assert seen == [7]
    assert out(app) == 0
    assert nothing_lost(app)
