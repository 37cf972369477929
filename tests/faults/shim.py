"""Programs in processes of their own, in which calls of the C library fail when they are told to.

The small library ``io_shim.c`` stands between SQLite and the C library. It reads from a file
which call is to fail, so a fault can be switched on and off while the program runs.
"""

import errno
import inspect
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import sqlite_container
from sqlite_container import Database

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body BLOB);\n"
TESTS = Path(__file__).parents[1]
PACKAGE = Path(sqlite_container.__file__).parent
SECONDS = 60
"""After which a program is taken to hang."""


class Absent(Exception):
    """Stands for an error that the package does not have; nothing raises it."""


def public(name: str) -> type[Exception]:
    """The package's error of that name."""
    error: type[Exception] = getattr(sqlite_container, name, Absent)
    return error


# -- databases -----------------------------------------------------------------------------


def new(folder: Path, **settings: object) -> Database:
    """Open a database with a table of notes, in a folder that has nothing else in it."""
    schema = folder / "schema.sql"
    schema.write_text(SCHEMA)
    (folder / "data").mkdir(exist_ok=True)
    database = Database("notes")
    database.open({"path": str(folder / "data" / "notes.db"), "schema": str(schema), **settings})
    return database


@contextmanager
def opened(folder: Path, **settings: object) -> Iterator[Database]:
    """The same for the length of a block."""
    with ExitStack() as stack:
        database = new(folder, **settings)
        stack.callback(database.close, 1)
        yield database


# -- programs ------------------------------------------------------------------------------


def start(
    program: Callable[..., None],
    *words: object,
    library: Path | None = None,
    control: Path | None = None,
) -> "subprocess.Popen[str]":
    """Start a function of a test module in a process of its own, with ``words`` as texts."""
    module = Path(inspect.getfile(program)).stem
    code = f"import sys; from faults.{module} import {program.__name__} as p; p(*sys.argv[1:])"
    path = [str(PACKAGE.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    if library is not None:
        environment |= {"LD_PRELOAD": str(library), "IO_SHIM": str(control)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    program: Callable[..., None],
    *words: object,
    library: Path | None = None,
    control: Path | None = None,
) -> str:
    """Run it to its end, which has to be a good one; what it has printed."""
    process = start(program, *words, library=library, control=control)
    try:
        printed, complaints = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, complaints = process.communicate()
        raise AssertionError(f"{program.__name__} hangs:\n{printed}{complaints}") from None
    assert process.returncode == 0, f"exit status {process.returncode}:\n{printed}{complaints}"
    return printed


# -- faults --------------------------------------------------------------------------------


class Fault(NamedTuple):
    """Which call fails, on files whose paths end like this, and how."""

    call: str
    suffix: str
    error: str
    nth: int = 1
    times: int = -1

    @property
    def line(self) -> str:
        """What the library reads."""
        code = getattr(errno, self.error)
        return f"{self.call} {self.suffix} {self.nth} {self.times} {code}"


@contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """Within the block, in a program with the library, that call fails."""
    control = Path(os.environ["IO_SHIM"])
    control.write_text(fault.line)
    try:
        yield
    finally:
        control.write_text("")


def compiled(folder: Path) -> Path:
    """Compile the library. Skips the test where that cannot be, or where it has no effect."""
    compiler = shutil.which("cc")
    if compiler is None:
        _unable("there is no C compiler: I/O faults are not tested")
    library = folder / "io_shim.so"
    source = Path(__file__).with_name("io_shim.c")
    command = [str(compiler), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        _unable(f"io_shim.c does not compile here:\n{done.stderr}")
    if run(write_in_vain, folder, library=library, control=folder / "control") != "disk I/O error":
        _unable("io_shim.c does not reach the SQLite of this Python")
    return library


def _unable(reason: str) -> NoReturn:
    import pytest  # which the programs do without

    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def write_in_vain(folder: str) -> None:
    """Whether SQLite meets a fault."""
    with closing(sqlite3.connect(Path(folder, "probe.db"))) as db:
        db.execute("CREATE TABLE probe (x)")
        with failing(Fault("write", "probe.db", "EIO")):
            try:
                db.execute("CREATE TABLE other (x)")
            except sqlite3.OperationalError as error:
                print(error, end="")


# -- what several tests look at ------------------------------------------------------------


def descriptors() -> set[str]:
    """The files, folders and pipes that this process has open, each with its number."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself
            found.add(f"{each.name} {each.readlink()}")
    return found


def rows(file: Path) -> list[str]:
    """The titles in a file, read by the standard library, after SQLite has checked it."""
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in db.execute("SELECT title FROM note ORDER BY id")]
