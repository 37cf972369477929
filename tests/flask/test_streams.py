"""Streamed bodies: the connection stays until the body is sent, and then goes back once."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from dependency_injector.wiring import Provide, inject
from flask import Flask, Response, make_response, send_file, stream_template_string
from flask import stream_with_context as keep
from werkzeug.serving import make_server

from common import views
from common.databases import PATIENCE, in_thread
from common.shop import MakeApp, Shop, container_of, nothing_lost, out
from sqlite_container import Connection, NotYourConnection, TooManyRequests

ROWS = 50


def titles(db: Connection) -> Iterator[str]:
    for row in db.execute("SELECT title FROM note ORDER BY id"):
        yield f"{row[0]}\n"


def streaming(answer: Callable[[Connection], Any]) -> Callable[[Flask], None]:
    """An app's registration with one view that answers this."""

    def register(app: Flask) -> None:
        @app.get("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]) -> Any:
            return answer(db)

    return register


@pytest.fixture
def make(make_app: MakeApp) -> Callable[..., Flask]:
    """Make an app with some rows and a view that streams them."""

    def make(answer: Callable[[Connection], Any], **notes: object) -> Flask:
        app = make_app("one", streaming(answer), **notes)
        with container_of(app).notes.database().transaction() as db:
            rows = ((str(number),) for number in range(ROWS))
            db.executemany("INSERT INTO note (title) VALUES (?)", rows)
        return app

    return make


ANSWERS: dict[str, Callable[[Connection], Any]] = {
    "generator": titles,
    "response": lambda db: Response(titles(db)),
    "stream_with_context": lambda db: keep(titles(db)),
    "iterator": lambda db: iter([str(row) for row in titles(db)]),
    "cursor": lambda db: Response(
        map(str, db.execute("SELECT title || char(10) FROM note ORDER BY id"))
    ),
}


@pytest.mark.parametrize("answer", [ANSWERS[name] for name in ANSWERS if name != "cursor"])
def test_a_streamed_body_is_sent_whole(make: Callable[..., Flask], answer: Any) -> None:
    """A body that reads from the connection while it is sent is complete."""
    app = make(answer)
    with app.test_client().get("/") as response:
        assert out(app) == 1
        assert response.get_data(as_text=True).split() == [str(number) for number in range(ROWS)]
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_body_that_is_never_read_gives_back(make: Callable[..., Flask], answer: Any) -> None:
    """A response that is closed before its first part was asked for gives the connection back."""
    app = make(answer)
    response = app.test_client().get("/")
    response.close()
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_client_that_leaves_early_gives_back(make: Callable[..., Flask], answer: Any) -> None:
    """A response that is closed in the middle gives the connection back, once."""
    app = make(answer)
    response = app.test_client().get("/")
    parts = iter(response.response)
    next(parts)
    next(parts)
    assert out(app) == 1
    response.close()
    response.close()
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_head_request_gives_back(make: Callable[..., Flask], answer: Any) -> None:
    """A HEAD request, whose body nobody reads, gives the connection back."""
    app = make(answer)
    with app.test_client().head("/") as response:
        assert response.data == b""
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_body_read_to_its_end_gives_back_without_close(
    make: Callable[..., Flask], answer: Any
) -> None:
    """When the last part was read the connection is back, even if nobody closes the response."""
    app = make(answer)
    response = app.test_client().get("/")
    assert response.get_data(as_text=True)
    assert out(app) == 0
    assert nothing_lost(app)
    response.close()


def broken(db: Connection) -> Iterator[str]:
    yield next(titles(db))
    raise LookupError("in the middle")


@pytest.mark.parametrize("answer", [broken, lambda db: keep(broken(db))])
def test_an_error_in_the_body_gives_back(make: Callable[..., Flask], answer: Any) -> None:
    """A body that fails in the middle gives the connection back."""
    app = make(answer)
    with app.test_client().get("/") as response, pytest.raises(LookupError):
        list(response.response)
    assert out(app) == 0
    assert nothing_lost(app)


def test_an_error_when_the_body_is_closed_gives_back(make: Callable[..., Flask]) -> None:
    """A body whose own clean-up fails still gives the connection back."""

    def broken(db: Connection) -> Iterator[str]:
        try:
            yield from titles(db)
        finally:
            raise LookupError("clean-up")

    app = make(broken)
    response = app.test_client().get("/")
    next(iter(response.response))
    with pytest.raises(LookupError):
        response.close()
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_failing_call_on_close_function_gives_back(make: Callable[..., Flask]) -> None:
    """A function of the app's own that fails when the response closes keeps nothing out."""

    def fail() -> None:
        raise LookupError("on close")

    def answer(db: Connection) -> Response:
        response = Response(titles(db))
        response.call_on_close(fail)
        return response

    app = make(answer)
    response = app.test_client().get("/")
    with pytest.raises(LookupError):
        response.close()
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_transaction_left_open_by_a_body_is_reported(make: Callable[..., Flask]) -> None:
    """Uncommitted work of a body is rolled back, and the warning names the request."""
    from sqlite_container import UncommittedWarning

    def writing(db: Connection) -> Iterator[str]:
        db.execute("DELETE FROM note")
        yield "deleted"

    app = make(writing)
    with (
        pytest.warns(UncommittedWarning, match=r"GET / \(index\)"),
        app.test_client().get("/") as response,
    ):
        assert response.get_data(as_text=True) == "deleted"
    with container_of(app).notes.database().reader() as db:
        assert db.execute("SELECT count(*) FROM note").fetchone() == (ROWS,)
    assert out(app) == 0


def test_two_bodies_at_once_have_a_connection_each(make: Callable[..., Flask]) -> None:
    """Two responses that are read in turns do not disturb each other."""
    app = make(titles)
    first, second = app.test_client().get("/"), app.test_client().get("/")
    assert out(app) == 2
    pairs = list(zip(first.response, second.response, strict=True))
    assert len(pairs) == ROWS
    assert all(one == other for one, other in pairs)
    first.close()
    assert out(app) <= 1
    second.close()
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_request_while_a_body_is_read_does_not_end_it(make: Callable[..., Flask]) -> None:
    """A whole other request in the middle of a body changes nothing for it."""
    app = make(titles)
    first = app.test_client().get("/")
    parts = iter(first.response)
    next(parts)
    with app.test_client().get("/") as second:
        assert len(second.get_data(as_text=True).split()) == ROWS
    assert len(list(parts)) == ROWS - 1
    first.close()
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_body_may_be_sent_by_another_thread(make: Callable[..., Flask]) -> None:
    """Some servers read the body in another thread than the view ran in."""
    app = make(titles)
    response = app.test_client().get("/")
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(response.get_data(as_text=True)))
    thread.start()
    thread.join()
    response.close()
    assert len(said[0].split()) == ROWS
    assert out(app) == 0
    assert nothing_lost(app)


def test_the_first_use_of_a_database_may_be_in_the_body(make_app: MakeApp) -> None:
    """A body with a context of its own may borrow a connection itself; it goes back."""

    def lazy() -> Iterator[str]:
        yield from titles(views.deeper())

    app = make_app("one", lambda app: app.add_url_rule("/", view_func=lambda: keep(lazy())))
    for read in (True, False):
        with app.test_client().get("/") as response:
            if read:
                assert response.get_data(as_text=True) == ""
        assert out(app) == 0
    with container_of(app).notes.database().transaction() as db:
        db.executemany("INSERT INTO note (title) VALUES (?)", [("a",), ("b",)])
    response = app.test_client().get("/")
    assert next(iter(response.response)) == b"a\n"
    assert out(app) == 1
    response.close()
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_body_may_use_a_second_database(make: Callable[..., Flask]) -> None:
    """What a body borrows besides what the view had goes back with it."""

    def answer(db: Connection) -> Iterator[str]:
        for title in titles(db):
            audit = container_of(app).audit.connection()
            yield f"{title.strip()} {audit.execute('SELECT count(*) FROM note').fetchone()[0]}\n"

    app = make(lambda db: keep(answer(db)))
    with app.test_client().get("/") as response:
        assert response.get_data(as_text=True).splitlines()[1] == "1 0"
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_streamed_template_reads_while_it_renders(make: Callable[..., Flask]) -> None:
    """`stream_template` keeps the connection for as long as the template renders."""
    source = "{% for title in titles %}{{ title }}{% endfor %}"
    app = make(lambda db: stream_template_string(source, titles=titles(db)))
    with app.test_client().get("/") as response:
        assert len(response.get_data(as_text=True).split()) == ROWS
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_sent_file_does_not_hold_a_connection(make: Callable[..., Flask]) -> None:
    """`send_file` of a plain file needs no connection, which goes back at once."""

    def answer(db: Connection) -> Response:
        db.execute("SELECT 1").fetchone()
        return send_file(__file__)

    app = make(answer)
    with app.test_client().get("/") as response:
        assert out(app) == 0
        assert "does_not_hold" in response.get_data(as_text=True)
    assert nothing_lost(app)


def test_a_sent_buffer_arrives(make: Callable[..., Flask]) -> None:
    """`send_file` of what was read from the database before is sent whole."""

    def answer(db: Connection) -> Response:
        content = db.execute("SELECT group_concat(title) FROM note").fetchone()[0]
        return send_file(io.BytesIO(content.encode()), mimetype="text/plain")

    app = make(answer)
    with app.test_client().get("/") as response:
        assert response.get_data(as_text=True).split(",")[-1] == str(ROWS - 1)
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("read", [True, False])
def test_a_blob_may_be_sent_as_a_file(make: Callable[..., Flask], method: str, read: bool) -> None:
    """`send_file` of a blob keeps the connection until the blob is sent, or not wanted."""
    content = bytes(range(256)) * 500

    def answer(db: Connection) -> Response:
        with db:
            db.execute("INSERT INTO note (id, title) VALUES (1000, ?)", (content,))
        blob = db.blobopen("note", "title", 1000, readonly=True)
        return send_file(blob, mimetype="application/octet-stream")  # type: ignore[arg-type]

    app = make(answer)
    with getattr(app.test_client(), method)("/") as response:
        if read:
            assert response.data == (content if method == "get" else b"")
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("before", [True, False], ids=["before init_app", "after init_app"])
def test_an_error_in_an_after_request_function_ends_the_stream(
    make: Callable[..., Flask], before: bool
) -> None:
    """A streamed response that an `after_request` function fails on keeps nothing out."""

    def fail(response: Response) -> Response:
        raise LookupError("after")

    app = make(titles)
    if before:
        app.after_request_funcs[None].insert(0, fail)
    else:
        app.after_request(fail)
    app.testing = False
    with app.test_client().get("/") as response:
        assert response.status_code == 500
    assert out(app) == 0
    assert nothing_lost(app)


@pytest.mark.parametrize("before", [True, False], ids=["before init_app", "after init_app"])
def test_a_streamed_response_may_be_replaced(make: Callable[..., Flask], before: bool) -> None:
    """An `after_request` function that answers something else keeps nothing out."""

    def replace(_: Response) -> Response:
        return make_response("something else")

    app = make(titles)
    if before:
        app.after_request_funcs[None].insert(0, replace)
    else:
        app.after_request(replace)
    with app.test_client().get("/") as response:
        assert response.get_data(as_text=True) == "something else"
    assert out(app) == 0
    assert nothing_lost(app)


def test_an_etag_function_may_read_the_body(make: Callable[..., Flask]) -> None:
    """An `after_request` function that needs the whole body can have it."""

    def etag(response: Response) -> Response:
        response.add_etag()
        return response

    app = make(titles)
    app.after_request_funcs[None].insert(0, etag)
    with app.test_client().get("/") as response:
        assert response.headers["ETag"]
        assert len(response.get_data(as_text=True).split()) == ROWS
    assert out(app) == 0
    assert nothing_lost(app)


def test_a_streaming_connection_is_refused_to_a_later_request(make: Callable[..., Flask]) -> None:
    """After its body a kept connection of a streaming request raises like any other."""
    kept: list[Connection] = []

    def answer(db: Connection) -> Iterator[str]:
        kept.append(db)
        return titles(db)

    app = make(answer)
    with app.test_client().get("/") as response:
        assert response.get_data(as_text=True)
    with pytest.raises(NotYourConnection, match="went back"):
        kept[0].execute("SELECT 1")


@pytest.mark.parametrize(
    ("pool", "most"),
    [({"max_size": 3}, 2), ({"max_size": 1}, 1), ({"max_size": 3, "max_streaming": 1}, 1)],
)
def test_clients_that_read_no_body_do_not_keep_everybody_out(
    make: Callable[..., Flask], pool: dict[str, int], most: int
) -> None:
    """Too many of them get 503 at once; others are served, if there is a connection for them."""
    app = make(titles, pool={**pool, "timeout": 0.1})
    register_plain_view(app)
    client = app.test_client()
    bodies = [client.get("/") for _ in range(most)]
    refused = client.get("/")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert out(app) == most
    assert client.get("/plain").status_code == (200 if most < pool["max_size"] else 503)
    bodies.pop().close()
    with client.get("/") as accepted:
        assert accepted.status_code == 200
    while bodies:
        bodies.pop().close()
    assert out(app) == 0


def register_plain_view(app: Flask) -> None:
    """Add a view that does not stream."""
    container = container_of(app)

    @app.get("/plain")
    def plain() -> str:
        return str(container.notes.reader().execute("SELECT count(*) FROM note").fetchone()[0])


def test_a_body_that_first_uses_a_database_while_it_is_sent_is_counted(make_app: MakeApp) -> None:
    """It is refused when it asks, and what others stream is left alone."""

    def lazy() -> Iterator[str]:
        yield from titles(views.deeper())

    paths = {"/": lambda: keep(lazy())}
    app = make_app("one", partial(register, paths), pool={"max_size": 2, "timeout": 0.1})
    with container_of(app).notes.database().transaction() as db:
        db.executemany("INSERT INTO note (title) VALUES (?)", [("a",), ("b",)])
    with app.test_client().get("/") as first:
        assert next(iter(first.response)) == b"a\n"
        second = in_thread(lambda: app.test_client().get("/").text)  # has a context of its own
        with pytest.raises(TooManyRequests, match=r"pool.max_streaming"):
            second.result(PATIENCE)
        assert out(app) == 1
    assert out(app) == 0


def register(paths: dict[str, Callable[[], Any]], app: Flask) -> None:
    """Add a view for each path."""
    for path, view in paths.items():
        app.add_url_rule(path, view_func=view)


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], int]]:
    """Serve an app by Werkzeug's server in a thread; gives the port."""
    servers: list[Any] = []

    def serve(app: Flask) -> int:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        servers.append((server, thread))
        return int(server.server_port)

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_server_gives_back_after_the_whole_body(
    make: Callable[..., Flask], serve: Callable[[Flask], int]
) -> None:
    """Served by a real server, a streamed body arrives whole and gives its connection back."""
    app = make(titles)
    port = serve(app)
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert len(connection.getresponse().read().split()) == ROWS
        connection.close()
    assert eventually(lambda: out(app) == 0)
    assert nothing_lost(app)


def test_a_client_that_hangs_up_gives_back(
    make: Callable[..., Flask], serve: Callable[[Flask], int]
) -> None:
    """A client that disconnects in the middle of the body does not keep the connection."""

    def endless(db: Connection) -> Iterator[str]:
        while True:
            yield from titles(db)
            yield "x" * 10_000

    app = make(endless)
    port = serve(app)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100)
        assert out(app) == 1
    assert eventually(lambda: out(app) == 0)
    assert nothing_lost(app)
