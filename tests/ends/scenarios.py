"""Short programs that end in their own way. Each is run as ``python -m ends.scenarios NAME``.

A program asserts what it can see from inside; the test looks at the rest from outside: exit
status, what was printed, files left, and every row that :func:`put` has noted as committed.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ends.databases import FOLDER, NAMES, SLOW, limit_life, make_container, member
from sqlite_container import Database, SQLiteContainerError, shutdown, shutdown_at_exit

container = make_container()


def database(name: str = "wal") -> Database:
    """One of the three, open."""
    found: Database = member(container, name).database()
    return found


def noted(name: str, row: int) -> None:
    """Remember outside of the process that this row is committed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND  # no lock: a fork might inherit it locked
    file = os.open(FOLDER / f"acknowledged-{os.getpid()}", flags)
    os.write(file, f"{name} {row}\n".encode())
    os.close(file)


def put(name: str = "wal") -> None:
    """Commit a row."""
    row = time.time_ns()
    with database(name).transaction() as db:
        db.execute("INSERT INTO entry VALUES (?, 'scenario')", (row,))
    noted(name, row)


def put_everywhere() -> None:
    """Commit a row in each database."""
    for name in NAMES:
        put(name)


def fork(child: Callable[[], object]) -> int:
    """Fork; the child does something and ends like any program: through ``sys.exit``."""
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(0)
    return pid


def joined(pid: int) -> None:
    """Wait for a child, which must end well."""
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"


def thread(target: Callable[[], object], *, daemon: bool = False) -> threading.Thread:
    """A thread that runs already."""
    started = threading.Thread(target=target, daemon=daemon)
    started.start()
    return started


def attempt(connection: Any) -> None:
    """What was inherited must refuse to work, and say so in the library's words."""
    try:
        connection.execute("INSERT INTO entry VALUES (-1, 'by a child')")
    except SQLiteContainerError:
        return
    raise AssertionError("a child used a connection that it inherited")


# -- forks -----------------------------------------------------------------------------------


def fork_when_idle() -> None:
    put_everywhere()
    joined(fork(put_everywhere))
    put_everywhere()
    joined(fork(gc.collect))
    put_everywhere()


def fork_when_borrowed() -> None:
    for name in NAMES:
        row = time.time_ns()
        with database(name).transaction() as db:
            db.execute("INSERT INTO entry VALUES (?, 'before')", (row,))
            joined(fork(lambda db=db: attempt(db)))  # type: ignore[misc]
            db.execute("INSERT INTO entry VALUES (?, 'after')", (row + 1,))
        noted(name, row)
        noted(name, row + 1)


def fork_between_statements() -> None:
    with database().connection() as db, database("journal").reader() as reader:
        put_everywhere()

        def child() -> None:
            attempt(db)
            attempt(reader)
            put_everywhere()

        joined(fork(child))
        db.execute("SELECT count(*) FROM entry").fetchone()
        reader.execute("SELECT count(*) FROM entry").fetchone()


def fork_with_open_cursor() -> None:
    for _ in range(5):
        put("journal")
    with database("journal").reader() as db:
        cursor = db.execute("SELECT id FROM entry")
        cursor.fetchone()
        joined(fork(gc.collect))
        assert len(cursor.fetchall()) == 4


def fork_beside_a_transaction() -> None:
    inside = threading.Event()

    def write(name: str) -> None:
        row = time.time_ns()
        with database(name).transaction() as db:
            db.execute("INSERT INTO entry VALUES (?, 'first')", (row,))
            inside.set()
            time.sleep(0.4)
            db.execute("INSERT INTO entry VALUES (?, 'second')", (row + 1,))
        noted(name, row)
        noted(name, row + 1)

    threads = [thread(lambda name=name: write(name)) for name in NAMES]  # type: ignore[misc]
    inside.wait()
    for _ in range(3):
        joined(fork(put_everywhere))
    for each in threads:
        each.join()


def fork_in_a_thread() -> None:
    def work() -> None:
        put("tenants.acme")
        shutdown(container)  # a process that was forked in a thread ends without atexit

    with database().transaction() as db, database("journal").transaction() as other:
        row = time.time_ns()
        db.execute("INSERT INTO entry VALUES (?, 'main')", (row,))
        other.execute("INSERT INTO entry VALUES (?, 'main')", (row,))
        thread(lambda: joined(fork(work))).join()
    noted("wal", row)
    noted("journal", row)


def fork_beside_a_statement() -> None:
    def run(name: str) -> None:
        try:
            with database(name).reader() as db:
                db.execute(SLOW)
        except sqlite3.OperationalError:
            return

    for name in ("wal", "journal"):
        thread(lambda name=name: run(name), daemon=True)  # type: ignore[misc]
    time.sleep(0.3)
    joined(fork(gc.collect))
    joined(fork(refused))
    put("wal")


def refused() -> None:
    """What was in the middle of something when the process was forked cannot be used there."""
    with suppress(SQLiteContainerError):
        put("tenants.acme")
    for name in ("wal", "journal"):
        try:
            put(name)
        except SQLiteContainerError:
            continue
        raise AssertionError(f"{name} was used in spite of a lock that nobody here holds")


def grandchild() -> None:
    def child() -> None:
        put_everywhere()
        joined(fork(put_everywhere))
        put_everywhere()

    put_everywhere()
    joined(fork(child))
    put_everywhere()


def many_forks_under_load() -> None:
    stop = time.monotonic() + 1.5

    def write(name: str) -> None:
        while time.monotonic() < stop:
            put(name)

    threads = [thread(lambda name=name: write(name)) for name in NAMES]  # type: ignore[misc]
    while time.monotonic() < stop:
        joined(fork(lambda: put("wal")))
    for each in threads:
        each.join()


def multiprocessing_children() -> None:
    put_everywhere()
    for method in ("fork", "spawn", "forkserver"):
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=put_everywhere)
        process.start()
        put_everywhere()
        process.join()
        assert process.exitcode == 0, f"{method}: exit code {process.exitcode}"


def process_pool() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        put_everywhere()
        for each in [pool.submit(put, name) for name in NAMES]:
            each.result(20)


# -- threads ---------------------------------------------------------------------------------


def executor_joined_at_exit() -> None:
    def work() -> None:
        time.sleep(0.1)
        put()

    pool = ThreadPoolExecutor(2)
    for _ in range(6):
        pool.submit(work)


def thread_joined_at_exit() -> None:
    def work() -> None:
        for _ in range(5):
            time.sleep(0.1)
            put_everywhere()

    thread(work)


def daemon_threads() -> None:
    def work(name: str) -> None:
        while True:
            try:
                put(name)
            except SQLiteContainerError:
                time.sleep(0.001)

    for name in NAMES:
        thread(lambda name=name: work(name), daemon=True)  # type: ignore[misc]
    time.sleep(0.4)


def refused_during_shutdown() -> None:
    def hold() -> None:
        with database().connection():
            time.sleep(0.5)

    def knock() -> None:
        while True:
            try:
                put("journal")
                time.sleep(0.001)
            except SQLiteContainerError as error:
                (FOLDER / "refusal").write_text(type(error).__name__)
                return

    thread(hold, daemon=True)
    thread(knock, daemon=True)
    time.sleep(0.2)


# -- the end of the program itself -----------------------------------------------------------


def exit_in_a_transaction() -> None:
    put_everywhere()
    with database().transaction() as db:
        db.execute("INSERT INTO entry VALUES (-1, 'never committed')")
        sys.exit(3)


def term_in_a_transaction() -> None:
    put_everywhere()
    with database().transaction() as db:
        db.execute("INSERT INTO entry VALUES (-1, 'never committed')")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)


def user_function_at_exit() -> None:
    atexit.register(put_everywhere)
    put_everywhere()


def own_handler_stays() -> None:
    received = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    shutdown_at_exit(container)
    put_everywhere()
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]


def signals_switched_off() -> None:
    other = make_container()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    shutdown_at_exit(other, signals=False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    member(other, "wal").database()


def made_in_a_thread() -> None:
    made = []

    def make() -> None:
        other = make_container()
        shutdown_at_exit(other)
        member(other, "journal").database()
        made.append(other)

    thread(make).join()
    atexit.register(made.clear)


def without_goodbye() -> None:
    put_everywhere()
    with database().transaction() as db, database("journal").transaction() as other:
        for each in (db, other):
            each.execute("INSERT INTO entry VALUES (-1, 'never committed')")
        os._exit(9)


def replaced_by_exec() -> None:
    put_everywhere()
    os.execv(sys.executable, [sys.executable, "-c", "pass"])


if __name__ == "__main__":
    limit_life()
    if sys.argv[1] != "own_handler_stays":
        shutdown_at_exit(container)
    globals()[sys.argv[1]]()
