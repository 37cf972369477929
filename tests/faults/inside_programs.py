"""Programs in which somebody is inside SQLite while the connection goes back; without pytest.

Each user below works in a thread of its own, with a connection that somebody else gives back,
that is found to have no borrower any more, or whose database closes. It goes on until it is
refused.
"""

import contextvars
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from time import sleep
from typing import Any, NamedTuple

from dependency_injector import containers
from flask import Flask
from flask.testing import FlaskClient

from common.databases import PATIENCE, count, files, in_thread, wait_until
from faults.helpers import NUMBERS, Reports, fill_numbers, opened, settings_in
from sqlite_container import (
    Connection,
    Database,
    DatabaseClosed,
    NotYourConnection,
    SQLite,
    StatementInterrupted,
    shutdown,
)
from sqlite_container.flask import init_app

ROUNDS = 8
PAUSES = Random(5)
"""How long somebody has been inside when the connection goes back."""
SELECT = "SELECT n FROM number"


class Scene:
    """One round: somebody gets inside, and then it is over with the loan."""

    def __init__(self) -> None:
        self.inside = Event()
        self.over = Event()
        self.stored = 0  # rows of which the user knows that they are stored


Use = Callable[[Connection, Scene], None]


# -- what somebody does inside SQLite ------------------------------------------------------


def insert_many(db: Connection, scene: Scene) -> None:
    """Insert rows, by a generator that goes on until the loan is over, and for a while then."""

    def rows() -> Iterator[tuple[str]]:
        while not scene.over.is_set():
            yield ("x",)
            scene.inside.set()
        yield from (("after",) for _ in range(1000))

    db.executemany("INSERT INTO note (title) VALUES (?)", rows())
    db.commit()


def run_statement(db: Connection, scene: Scene) -> None:
    """Run a statement that sleeps in the middle until the loan is over, then another one."""

    def wait(number: int) -> int:
        scene.inside.set()
        assert scene.over.wait(2), "whoever gave the connection back had to wait"
        return number

    db.create_function("wait", 1, wait)
    rows = db.execute("SELECT wait(1)").fetchall()
    assert rows == [(1,)], rows
    db.execute("SELECT 1")


def iterate(db: Connection, scene: Scene) -> None:
    """Iterate over cursors."""
    while True:
        numbers = [number for (number,) in db.execute(SELECT)]
        assert numbers == list(range(NUMBERS)), numbers
        scene.inside.set()


def fetch_one_by_one(db: Connection, scene: Scene) -> None:
    """Fetch one row after the other."""
    while True:
        cursor = db.execute(SELECT)
        for number in range(NUMBERS):
            assert cursor.fetchone() == (number,)
        assert cursor.fetchone() is None
        scene.inside.set()


def fetch_many(db: Connection, scene: Scene) -> None:
    """Fetch a hundred rows at a time."""
    while True:
        cursor = db.execute(SELECT)
        while rows := cursor.fetchmany(100):
            assert len(rows) == 100
        scene.inside.set()


def fetch_all(db: Connection, scene: Scene) -> None:
    """Fetch all rows at once."""
    while True:
        assert len(db.execute(SELECT).fetchall()) == NUMBERS
        scene.inside.set()


def read_blob(db: Connection, scene: Scene) -> None:
    """Read from a blob."""
    blob = db.blobopen("note", "body", 1, readonly=True)
    while True:
        assert len(blob.read()) == 1_000_000
        blob.seek(0)
        scene.inside.set()


def write_blob(db: Connection, scene: Scene) -> None:
    """Write into a blob."""
    blob = db.blobopen("note", "body", 1)
    while True:
        blob.write(bytes(1_000_000))
        blob.seek(0)
        scene.inside.set()


def dump(db: Connection, scene: Scene) -> None:
    """Dump the database as statements."""
    while True:
        assert len(list(db.iterdump())) > NUMBERS
        scene.inside.set()


def back_up(db: Connection, scene: Scene) -> None:
    """Copy the database page by page."""
    while True:
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as target:
            db.backup(target, pages=1)
            scene.inside.set()


def open_and_close_cursors(db: Connection, scene: Scene) -> None:
    """Close cursors that have rows to give."""
    while True:
        cursor = db.execute(SELECT)
        cursor.fetchone()
        cursor.close()
        scene.inside.set()


def write_blocks(db: Connection, scene: Scene) -> None:
    """Write rows in blocks, and count those that are stored."""
    while True:
        with db:
            db.execute("INSERT INTO note (title) VALUES ('stored')")
        scene.stored += 1
        scene.inside.set()


USES: list[Use] = [
    insert_many,
    run_statement,
    iterate,
    fetch_one_by_one,
    fetch_many,
    fetch_all,
    read_blob,
    write_blob,
    dump,
    back_up,
    open_and_close_cursors,
    write_blocks,
]


# -- how the connection goes back meanwhile --------------------------------------------------


def end_the_request(folder: str, name: str) -> None:
    """A thread in a copy of its context is inside when a request ends."""
    with app_of(Path(folder)) as (client, database, begin):
        surely = name in (insert_many.__name__, run_statement.__name__)
        start = partial(begin_request, client, begin, name)
        check_rounds(name, database, start, reported=surely)


def begin_request(client: FlaskClient, begin: list[Any], name: str, scene: Scene) -> "Future[None]":
    """Return what the thread comes to that a request has started and left."""
    begin[:] = [name, scene]
    assert client.get("/").status == "200 OK"
    future: Future[None] = begin.pop()
    return future


@contextmanager
def app_of(folder: Path) -> Iterator[tuple[FlaskClient, Database, list[Any]]]:
    """Make an app whose view starts a thread, and ends when that thread is inside."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite(settings_in(folder))

    app, container, begin = Flask(__name__), Container(), list[Any]()

    @app.get("/")
    def view() -> str:
        name, scene = begin
        use = partial(globals()[name], container.notes.connection(), scene)
        begin.append(in_thread(partial(contextvars.copy_context().run, use)))
        get_inside(scene, begin[-1])
        return ""

    init_app(app, container)
    database = container.notes.database()
    fill_numbers(database)
    try:
        yield app.test_client(), database, begin
    finally:
        shutdown(container)


def lose_the_loan(folder: str, name: str) -> None:
    """A loan that nobody keeps is found from elsewhere while its thread is inside."""
    with opened(Path(folder)) as database:
        fill_numbers(database)
        check_rounds(name, database, partial(begin_and_look, database, name), reported=True)


def begin_and_look(database: Database, name: str, scene: Scene) -> "Future[None]":
    """Look at the figures while a thread uses a connection whose loan is gone."""

    def run() -> None:
        globals()[name](database.connection().__enter__(), scene)

    future = in_thread(run)
    get_inside(scene, future)
    for _ in range(5):
        database.stats()
    return future


def get_inside(scene: Scene, future: "Future[None]") -> None:
    """Wait until a thread is inside, and for a moment that is different each time."""
    wait_until(lambda: scene.inside.is_set() or future.done())
    sleep(PAUSES.uniform(0, 0.003))


def check_rounds(
    name: str, database: Database, begin: Callable[[Scene], "Future[None]"], *, reported: bool
) -> None:
    """Check that the user is refused in the end, and the pool whole, in every round.

    ``reported`` says that it is surely told of each: who is between two statements when the
    request ends leaves nothing to tell.
    """
    reports, stored = Reports(), count(database)
    for _ in range(ROUNDS):
        reports.texts.clear()
        scene = Scene()
        future = begin(scene)
        if name == run_statement.__name__:
            figures = database.stats()
            assert figures["pool_available"] == figures["pool_size"] - 1, figures
        scene.over.set()
        error = future.exception(PATIENCE)
        assert isinstance(error, NotYourConnection), repr(error)
        wait_until(partial(is_whole, database))
        if reported:
            assert any("a connection" in text for text in reports.texts), reports.texts
        stored += scene.stored
        assert stored <= count(database) <= stored + (name == write_blocks.__name__)
        stored = count(database)


def is_whole(database: Database) -> bool:
    """Whether every connection is back."""
    figures = database.stats()
    return figures["pool_available"] == figures["pool_size"] > 0


def close_the_database(folder: str, name: str) -> None:
    """A database is closed while somebody is inside."""
    for number in range(2):
        place = Path(folder, str(number))
        place.mkdir()
        close_one(place, globals()[name])


def close_one(folder: Path, use: Use) -> None:
    scene = Scene()

    def run() -> None:
        with database.connection() as db:
            use(db, scene)

    with opened(folder) as database:
        fill_numbers(database)
        future = in_thread(run)
        get_inside(scene, future)
        database.close(0.3)
        scene.over.set()
        error = future.exception(PATIENCE)
        assert isinstance(error, DatabaseClosed | StatementInterrupted), repr(error)
    wait_until(lambda: files(folder / "data") == {"notes.db"})
    with closing(sqlite3.connect(folder / "data" / "notes.db")) as db:
        (rows,) = db.execute("SELECT count(*) FROM note WHERE title = 'stored'").fetchone()
    assert scene.stored <= rows <= scene.stored + 1


# -- two threads at the same time ------------------------------------------------------------


class Shared(NamedTuple):
    """What two threads use at the same time, and how."""

    make: Callable[[Connection], Any]
    own: Callable[[Any], bool]
    """What the owner does with it; false if it was disturbed."""
    intrude: Callable[[Any], object]


def of_cursor(own: Callable[[Any], list[Any]], intrude: Callable[[Any], object]) -> Shared:
    """Share a cursor, of whose rows the owner gets each."""
    rows = [(number,) for number in range(NUMBERS)]
    return Shared(lambda db: db.execute(SELECT), lambda cursor: own(cursor) == rows, intrude)


def of_blob(intrude: Callable[[Any], object]) -> Shared:
    """Share a blob, which the owner reads and writes."""

    def own(blob: Any) -> bool:
        blob.seek(0)
        blob.write(bytes(1_000_000))
        blob.seek(0)
        return bool(blob.read() == bytes(1_000_000))

    return Shared(lambda db: db.blobopen("note", "body", 1), own, intrude)


def of_connection(intrude: Callable[[Any], object]) -> Shared:
    """Share the connection itself."""

    def own(db: Any) -> bool:
        return len(db.execute(SELECT).fetchall()) == NUMBERS

    return Shared(lambda db: db, own, intrude)


def back_up_once(db: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as target:
        db.backup(target)


SHARED = {
    "cursor.next": of_cursor(list, next),
    "cursor.iteration": of_cursor(list, list),
    "cursor.fetchone": of_cursor(
        lambda cursor: list(iter(cursor.fetchone, None)), lambda c: c.fetchone()
    ),
    "cursor.fetchmany": of_cursor(
        lambda cursor: cursor.fetchmany(NUMBERS + 1), lambda c: c.fetchmany(2)
    ),
    "cursor.fetchall": of_cursor(lambda cursor: cursor.fetchall(), lambda c: c.fetchall()),
    "cursor.close": of_cursor(list, lambda cursor: cursor.close()),
    "cursor.execute": of_cursor(list, lambda cursor: cursor.execute("SELECT 1")),
    "blob.read": of_blob(lambda blob: blob.read(1)),
    "blob.write": of_blob(lambda blob: blob.write(b"x")),
    "blob.close": of_blob(lambda blob: blob.close()),
    "connection.statement": of_connection(lambda db: db.execute("SELECT 1")),
    "connection.commit": of_connection(lambda db: db.commit()),
    "connection.block": of_connection(lambda db: db.__enter__()),
    "connection.iterdump": of_connection(lambda db: list(db.iterdump())),
    "connection.backup": of_connection(back_up_once),
}


def outcome(attempt: Callable[[], object]) -> str:
    """Return the name of what it raises; empty if it raises nothing."""
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return ""


def use_in_two_threads(folder: str, kind: str) -> None:
    """A thread that has no loan tries again and again to use what the owner uses."""
    sys.setswitchinterval(0.00001)
    with opened(Path(folder)) as database:
        fill_numbers(database)
        for name, shared in SHARED.items():
            if name.startswith(kind):
                with database.connection() as db:
                    outcomes = compete(db, shared)
                assert set(outcomes) == {"NotYourConnection"}, (name, outcomes)


def compete(db: Connection, shared: Shared) -> "Counter[str]":
    """Return what the other thread comes to while the owner works undisturbed."""
    things, outcomes, over = [shared.make(db)], Counter[str](), Event()

    def intrude() -> None:
        while not over.is_set():
            outcomes[outcome(lambda: shared.intrude(things[0]))] += 1
            sleep(PAUSES.uniform(0, 0.0002))

    intruder = in_thread(intrude)
    try:
        for _ in range(40):
            things[0] = shared.make(db)
            assert shared.own(things[0]), outcomes
        wait_until(lambda: outcomes)
    finally:
        over.set()
        intruder.result(PATIENCE)
    return outcomes


def use_while_inside(folder: str, whose: str) -> None:
    """While the owner is inside SQLite, another thread tries every other way into it."""
    with app_of(Path(folder)) as (client, _, _), client.application.app_context():
        db = client.application.container.notes.connection()  # type: ignore[attr-defined]
        things = {name: shared.make(db) for name, shared in SHARED.items()}
        outcomes: dict[str, str] = {}

        def look(number: int) -> int:
            for name, thing in things.items():
                intrude = partial(outcome, partial(SHARED[name].intrude, thing))
                if whose == "request":
                    intrude = partial(contextvars.copy_context().run, intrude)
                outcomes[name] = in_thread(intrude).result(2)
            return number

        db.create_function("look", 1, look)
        assert db.execute("SELECT look(7)").fetchone() == (7,), outcomes
        assert set(outcomes.values()) == {"NotYourConnection"}, outcomes
        assert all(SHARED[name].own(thing) for name, thing in things.items())


def fetch_together(folder: str) -> None:
    """Two threads of one request fetch from one cursor: each row goes to one of them."""
    with app_of(Path(folder)) as (client, _, _), client.application.app_context():
        db = client.application.container.notes.connection()  # type: ignore[attr-defined]
        sys.setswitchinterval(0.00001)
        for _ in range(ROUNDS):
            cursor, rows = db.execute(SELECT), list[int]()
            fetch = partial(fetch_what_is_left, cursor, rows)
            futures = [in_thread(partial(contextvars.copy_context().run, fetch)) for _ in "ab"]
            for future in futures:
                future.result(PATIENCE)
            assert sorted(rows) == list(range(NUMBERS))


def fetch_what_is_left(cursor: Any, rows: list[int]) -> None:
    """Fetch until there is no more; wait where the other one is inside."""
    while True:
        try:
            row = cursor.fetchone()
        except NotYourConnection:
            sleep(0)
            continue
        if row is None:
            return
        rows.append(row[0])
