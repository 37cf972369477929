"""What the tests of faults share: programs in processes of their own, and storms of signals."""

import inspect
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import monotonic
from types import FrameType
from typing import NamedTuple

import pytest

import sqlite_container
from sqlite_container import Database

SCHEMA = """
CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body BLOB);
CREATE TABLE half (block INTEGER NOT NULL, side TEXT NOT NULL, UNIQUE (block, side));
CREATE TABLE number (n INTEGER PRIMARY KEY);
"""
SECONDS = 60
"""After which a program is taken to hang."""
NUMBERS = 1000
"""Rows of the table of numbers, where a test fills it."""


class Absent(Exception):
    """Stands for an error that the package does not have; nothing raises it."""


def public(name: str) -> type[Exception]:
    """Return the package's error of that name."""
    error: type[Exception] = getattr(sqlite_container, name, Absent)
    return error


# -- databases -----------------------------------------------------------------------------


def write_schema(folder: Path) -> Path:
    """Write the schema beside the folder that the database is in."""
    file = folder / "schema.sql"
    file.write_text(SCHEMA)
    (folder / "data").mkdir(exist_ok=True)
    return file


def settings_in(folder: Path, **more: object) -> dict[str, object]:
    """Return the settings of a database in a folder that has nothing else in it."""
    schema = write_schema(folder)
    return {"path": str(folder / "data" / "notes.db"), "schema": str(schema), **more}


@contextmanager
def opened(folder: Path, **settings: object) -> Iterator[Database]:
    """Open such a database for the length of a block."""
    database = Database("notes")
    database.open(settings_in(folder, **settings))
    try:
        yield database
    finally:
        database.close(1)


def fill_numbers(database: Database) -> None:
    """Give the table of numbers its rows, and the table of notes one with a large body."""
    with database.transaction() as db:
        db.executemany("INSERT INTO number VALUES (?)", ((n,) for n in range(NUMBERS)))
        db.execute("INSERT INTO note VALUES (1, 'large', zeroblob(1000000))")


# -- programs ------------------------------------------------------------------------------


class Ended(NamedTuple):
    """How a program ended: its exit status, and what it printed."""

    status: int
    output: str


def start(program: Callable[..., None], *words: object) -> "subprocess.Popen[str]":
    """Start a function of a module of this folder in a process of its own."""
    module = f"faults.{Path(inspect.getfile(program)).stem}"
    code = f"import sys; from {module} import {program.__name__} as p; p(*sys.argv[1:])"
    return start_python("-c", code, *map(str, words))


def start_python(*arguments: str, folder: Path | None = None) -> "subprocess.Popen[str]":
    """Start Python, with this package and these tests to import; it is told if it crashes."""
    package, tests = Path(sqlite_container.__file__).parents[1], Path(__file__).parents[1]
    path = os.pathsep.join([str(package), str(tests), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *arguments],
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end_of(process: "subprocess.Popen[str]", seconds: float = SECONDS) -> Ended:
    """Wait for the end of a program; kill one that does not end."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"the program did not end; it printed:\n{output[-2000:]}")
    return Ended(process.returncode, output)


def passes(program: Callable[..., None], *words: object) -> str:
    """Run a program that has to end well, and return what it printed."""
    ended = end_of(start(program, *words))
    assert ended.status == 0, f"exit status {ended.status}\n{ended.output[-3000:]}"
    return ended.output


class Reports(logging.Handler):
    """What a program was warned of, or what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        warnings.simplefilter("always")
        warnings.showwarning = self._show  # type: ignore[assignment]
        logging.getLogger("sqlite_container").addHandler(self)

    def _show(self, message: Warning | str, category: type[Warning], *_: object) -> None:
        self.texts.append(f"{category.__name__}: {message}")

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


# -- storms of signals -----------------------------------------------------------------------


class Hit(BaseException):
    """What a signal handler raises, like the time limit of a worker."""


class Storm:
    """A signal handler that raises at random moments, once for each attempt.

    An attempt goes on for as long as ``armed`` is true. So whoever goes on after the handler
    has raised has swallowed its exception, and that is counted. Exceptions that the interpreter
    itself drops, as in the callback of a weak reference, are not.
    """

    def __init__(self, seed: int = 11) -> None:
        self.armed = False
        self.raised = self.swallowed = self.dropped = 0
        self._random = Random(seed)
        signal.signal(signal.SIGALRM, self._ring)
        sys.unraisablehook = self._note_dropped

    def _ring(self, _: int, __: FrameType | None) -> None:
        self.armed = False
        raise Hit

    def _note_dropped(self, what: "sys.UnraisableHookArgs") -> None:
        if issubclass(what.exc_type, Hit):
            self.dropped += 1
        else:
            sys.__unraisablehook__(what)

    def blow(self, attempt: Callable[[], object], seconds: float) -> None:
        """Attempt again and again, each time until a signal comes."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            self.armed = True
            try:
                signal.setitimer(signal.ITIMER_REAL, self._random.uniform(0.0002, 0.001))
                attempt()
                self.swallowed += 1
            except Hit:
                self.raised += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)  # for the sake of another error
