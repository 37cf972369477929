"""Closing while other processes close the same file."""

import fcntl
import multiprocessing
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from common.databases import PATIENCE, add, files, in_thread
from sqlite_container import SQLite
from sqlite_container.database.database import Database
from sqlite_container.sqlite import closing as alone

ROUNDS = 300


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """As another process locks a folder while it closes a database there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def descriptors(folder: Path) -> list[str]:
    """What this process has open there, the folder itself included."""
    names = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(each.readlink()))
        except FileNotFoundError:
            continue
    return [name for name in names if name.startswith(str(folder))]


def test_closing_waits_for_another_process_that_closes(database: Database, path: Path) -> None:
    """While another process closes, no connection is closed here; then all of them are."""
    add(database)
    with locked(path.parent):
        closing = in_thread(database.close)
        with pytest.raises(TimeoutError):
            closing.result(alone.PATIENCE / 10)
        assert "notes.db-wal" in files(path.parent)
    closing.result(PATIENCE)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_folder_by_another_name_is_the_same(database: Database, path: Path) -> None:
    """A symbolic link to the file, in another folder, is closed under the same lock."""
    add(database)
    linked = path.parent.parent / "elsewhere"
    linked.mkdir()
    (linked / "link.db").symlink_to(path)
    other = SQLite(str(linked / "link.db")).database()
    other.open(str(linked / "link.db"))
    with locked(path.parent):
        closing = in_thread(other.close)
        with pytest.raises(TimeoutError):
            closing.result(alone.PATIENCE / 10)
    closing.result(PATIENCE)


def test_a_process_that_hangs_is_not_waited_for(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing goes on without the lock when it cannot be had in time."""
    monkeypatch.setattr(alone, "PATIENCE", 0.05)
    add(database)
    with locked(path.parent):
        database.close()
    assert database.closed
    assert descriptors(path.parent) == []


def test_a_folder_that_cannot_be_locked(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no locks: the databases there are closed without."""

    def flock(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    add(database)
    database.close()
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_child_does_not_hold_the_lock_of_its_parent(path: Path) -> None:
    """A process forked in the middle of closing lets go of the folder at once."""
    with alone.one_at_a_time(path):
        (read, write), (ready, go) = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            os.write(go, b"x")
            os.read(read, 1)
            os._exit(0)
        os.read(ready, 1)
    try:
        descriptor = os.open(path.parent, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if the child has it
        os.close(descriptor)
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        for descriptor in (read, write, ready, go):
            os.close(descriptor)


def close_again_and_again(file: str, together: Barrier, first: bool) -> None:
    """In a process of its own: close at the same moment as others; fail if -wal is left."""
    database = SQLite(file).database()
    left = 0
    for _ in range(ROUNDS):
        with database.transaction() as db:
            db.execute("INSERT INTO note (title) VALUES ('x')")
        together.wait(PATIENCE)
        database.close()
        together.wait(PATIENCE)
        left += first and Path(f"{file}-wal").exists()
        together.wait(PATIENCE)
        database.open(file)
    database.close()
    sys.exit(left)


def test_three_processes_close_at_the_same_moment(tmp_path: Path) -> None:
    """However close together, one of them is the last, and -wal is gone."""
    file = tmp_path / "notes.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE note (title)")
    connection.close()
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(3)
    arguments = [(str(file), together, first) for first in (True, False, False)]
    processes = [spawn.Process(target=close_again_and_again, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with sqlite3.connect(file) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM note").fetchone()
    connection.close()
    assert rows == 3 * ROUNDS
