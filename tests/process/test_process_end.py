"""The ordinary end: of an app, and of the process."""

from __future__ import annotations

import atexit
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask

from common import views
from common.shop import Shop, new_app, settings
from process import programs
from sqlite_container import shutdown, shutdown_at_exit
from sqlite_container.flask import init_app
from sqlite_container.process import exit as lifecycle

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python like a user who wants to see everything."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_at_exit_everything_is_closed_once_newest_first(tmp_path: Path) -> None:
    """At the end every live container is shut down, newest first, silently, without a `-wal`."""
    done = run(programs.__file__, str(tmp_path))
    assert done.stderr == ""
    assert done.stdout.split() == "end closed third closed second closed first".split()
    assert done.returncode == 0
    names = {file.name for file in tmp_path.rglob("*.db*")}
    assert names == {"notes.db", "a.db"}


def test_an_exception_at_the_end_of_the_program_changes_nothing(tmp_path: Path) -> None:
    """A program that ends with an error closes its databases as well."""
    code = (
        "import sys; from pathlib import Path; from process import programs;"
        "programs.main(Path(sys.argv[1])); raise LookupError('the end')"
    )
    done = run("-c", code, str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip().endswith("LookupError: the end")
    assert "Warning" not in done.stderr
    assert "closed first" in done.stdout
    assert not list(tmp_path.rglob("*-wal"))


def test_without_flask_shutdown_at_exit_does_it(tmp_path: Path) -> None:
    """`shutdown_at_exit(container)` needs no app, and Flask is not even imported."""
    code = f"""
import sys
from dependency_injector import containers
from sqlite_container import SQLite, shutdown_at_exit
class Container(containers.DeclarativeContainer):
    notes = SQLite({str(tmp_path / "notes.db")!r})
container = Container()
shutdown_at_exit(container)
with container.notes.database().transaction() as db:
    db.execute("CREATE TABLE t (x)")
print("flask" in sys.modules)
"""
    done = run("-c", code)
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.db"]


def test_a_container_shut_down_by_hand_is_fine_at_exit(tmp_path: Path) -> None:
    """What was shut down before the end is not shut down again."""
    code = (
        "import sys, sqlite_container; from pathlib import Path; from process import programs;"
        "programs.main(Path(sys.argv[1]));"
        "sqlite_container.shutdown(programs.second.container)"
    )
    done = run("-c", code, str(tmp_path))
    assert done.stderr == ""
    assert done.stdout.split() == "end closed second closed third closed first".split()


def test_a_failing_resource_at_exit_leaves_no_database_open(tmp_path: Path) -> None:
    """A user's resource that fails at exit keeps no database open."""
    code = f"""
from dependency_injector import containers, providers
from sqlite_container import SQLite, shutdown_at_exit
def broken():
    yield 1
    raise LookupError
class Container(containers.DeclarativeContainer):
    broken = providers.Resource(broken)
    notes = SQLite({str(tmp_path / "notes.db")!r})
containers = [Container(), Container()]
containers[1].notes.override(SQLite({str(tmp_path / "other.db")!r}))
for each in containers:
    shutdown_at_exit(each)
    each.init_resources()
    with each.notes.database().transaction() as db:
        db.execute("CREATE TABLE t (x)")
"""
    done = run("-c", code)
    assert done.returncode == 0
    assert "ResourceWarning" not in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notes.db", "other.db"]


def test_importing_opens_and_registers_nothing() -> None:
    """The import of the package connects to nothing and leaves the signals alone."""
    code = """
import signal, sys
before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
sys.addaudithook(lambda event, _: event.startswith("sqlite3.") and sys.exit(event))
import sqlite_container, sqlite_container.flask
from common import shop
assert before == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
"""
    done = run("-c", code)
    assert (done.stderr, done.returncode) == ("", 0)


def make_app(folder: Path, number: int) -> Flask:
    app = new_app(folder, f"app{number}")
    container: Any = Shop()
    config = settings(folder, f"app{number}", {"path": f"notes{number}.db"})
    config["databases"]["audit"]["path"] = ":memory:"
    config["tenants"] = {"acme": ":memory:"}
    container.config.from_dict(config)
    app.register_blueprint(views.bp)
    container.wire(modules=[views])
    init_app(app, container)
    with container.notes.database().transaction() as db:
        db.execute("INSERT INTO note (title) VALUES ('x')")
    return app


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("by_hand", [True, False], ids=["shut down", "only dropped"])
def test_many_apps_leave_nothing_behind(tmp_path: Path, by_hand: bool) -> None:
    """Apps made, used and dropped leave no descriptor, no callback, no app and no `-wal`."""
    count = 30

    def use(number: int) -> tuple[weakref.ref[Any], ...]:
        app = make_app(tmp_path, number)
        for name in ("connection", "service", "repository", "stream"):
            with app.test_client().get(f"/{name}") as response:
                assert response.get_data(as_text=True) == "x"
        container = app.extensions["sqlite_container"]
        if by_hand:
            shutdown(container)
        database = container.notes.database
        return weakref.ref(app), weakref.ref(container), weakref.ref(database.current)

    use(count)
    gc.collect()
    registered, callbacks = len(lifecycle._exit.containers), atexit._ncallbacks()
    open_before = descriptors()
    made = []
    for number in range(count):
        made.append(use(number))
        if number % 20 == 0:
            gc.collect()
    gc.collect()
    alive = [sum(each() is not None for each in kind) for kind in zip(*made, strict=True)]
    assert all(number <= 1 for number in alive), alive  # the last may still be wired
    assert descriptors() <= open_before + 3
    assert len(lifecycle._exit.containers) <= registered + 1
    assert atexit._ncallbacks() <= callbacks
    assert len(list(tmp_path.glob("*-wal"))) <= 1
    cast(Any, Shop()).wire(modules=[views])
    gc.collect()
    assert sum(each[0]() is not None for each in made) == 0


def test_shutdown_at_exit_twice_is_once(tmp_path: Path) -> None:
    """A container is registered once, however often it is asked for."""
    container: Any = Shop()
    before = len(lifecycle._exit.containers)
    for _ in range(3):
        shutdown_at_exit(container)
    assert len(lifecycle._exit.containers) == before + 1
    del container
    gc.collect()
    assert len(lifecycle._exit.containers) == before


def test_registered_containers_come_and_go_without_callbacks() -> None:
    """Containers that are registered and dropped, one after the other, add no exit callbacks."""

    def one() -> None:
        shutdown_at_exit(cast(Any, Shop()))
        gc.collect()

    one()
    before = atexit._ncallbacks()
    repeat(one, 20)
    assert atexit._ncallbacks() <= before


def repeat(do: Callable[[], None], times: int) -> None:
    for _ in range(times):
        do()


def test_daemon_threads_that_are_left_behind_print_nothing(tmp_path: Path) -> None:
    """What they are in the midst of is refused or interrupted, and nobody has to read of it."""
    code = f"""
import threading, time
from dependency_injector import containers
from sqlite_container import SQLite, shutdown_at_exit
from common.databases import SLOW
class Container(containers.DeclarativeContainer):
    notes = SQLite({str(tmp_path / "notes.db")!r})
container = Container()
shutdown_at_exit(container)
database = container.notes.database()
with database.transaction() as db:
    db.execute("CREATE TABLE note (title)")
def work():
    while True:
        with database.transaction() as db:
            db.execute("INSERT INTO note VALUES (1)")
def read():
    with database.reader() as db:
        db.execute(SLOW)
for each in (work, work, read, read):
    threading.Thread(target=each, daemon=True).start()
time.sleep(0.2)
"""
    done = run("-c", code)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert {file.name for file in tmp_path.iterdir()} == {"notes.db"}


def test_a_signal_adds_nothing_to_an_end_that_has_begun() -> None:
    """At the first line of what ends the process it would only be printed."""
    code = """
import signal
from sqlite_container.process import os_signals
os_signals.handle_signals()
def end():
    signal.raise_signal(signal.SIGTERM)
    print("goes on", flush=True)
os_signals.endings.add(end.__code__)
end()
signal.raise_signal(signal.SIGTERM)
print("never")
"""
    done = run("-c", code)
    assert (done.stdout, done.stderr, done.returncode) == ("goes on\n", "", 143)
