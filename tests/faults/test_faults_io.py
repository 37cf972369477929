"""I/O faults below SQLite: who cannot write is not lent as a writer, and no block is halved."""

import sqlite3
from pathlib import Path

import pytest

from faults import io_programs as programs
from faults.shim import compiled, run


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What makes calls fail in a program; the test is skipped where it cannot be made."""
    return compiled(tmp_path_factory.mktemp("shim"))


def test_a_fault_is_switched_on_and_off(library: Path, tmp_path: Path) -> None:
    """The shim itself: the call that is named fails, the others do not, and all is well after."""
    printed = run(programs.meet_faults, tmp_path, library=library, control=tmp_path / "control")
    assert printed.split() == "FULL ok IOERR_FSYNC ok READONLY_DIRECTORY ok CANTOPEN ok".split()


# -- a writer that cannot write ------------------------------------------------------------


@pytest.mark.parametrize("error", ["EMFILE", "EACCES"])
@pytest.mark.parametrize("suffix", ["notes.db", "-wal", "-shm"])
def test_what_opened_only_for_reading_is_not_lent_as_a_writer(
    library: Path, tmp_path: Path, suffix: str, error: str
) -> None:
    """While a file cannot be opened for writing, a loan works or says so; afterwards all write."""
    run(
        programs.open_in_vain,
        tmp_path,
        suffix,
        error,
        library=library,
        control=tmp_path / "control",
    )


@pytest.mark.parametrize("error", ["EMFILE", "EACCES"])
def test_a_reader_that_becomes_a_writer_can_write(
    library: Path, tmp_path: Path, error: str
) -> None:
    """A connection that was opened to read, while only that was possible, is no writer later."""
    run(programs.read_then_write, tmp_path, error, library=library, control=tmp_path / "control")


@pytest.mark.parametrize("error", ["EMFILE", "EACCES"])
def test_a_database_that_cannot_be_opened_for_writing_is_an_error(
    library: Path, tmp_path: Path, error: str
) -> None:
    """Opening the database itself fails clearly, leaves nothing open, and works a moment later."""
    run(
        programs.open_at_a_bad_moment,
        tmp_path,
        error,
        library=library,
        control=tmp_path / "control",
    )


# -- an error that tells that a connection is broken ---------------------------------------


@pytest.mark.parametrize("caught", ["caught", "raised"])
@pytest.mark.parametrize("what", programs.WRONG)
def test_a_writer_that_failed_below_sqlite_is_replaced(
    library: Path, tmp_path: Path, what: str, caught: str
) -> None:
    """The next loan is another connection, which works when the fault is gone."""
    run(programs.fail_once, tmp_path, what, caught, library=library, control=tmp_path / "control")


@pytest.mark.parametrize(
    ("page", "code"),
    [(0, sqlite3.SQLITE_NOTADB), (1, sqlite3.SQLITE_CORRUPT)],
    ids=["NOTADB", "CORRUPT"],
)
@pytest.mark.parametrize("use", ["SELECT title FROM note", "INSERT INTO note (title) VALUES (1)"])
def test_a_writer_that_read_nonsense_is_replaced(
    tmp_path: Path, page: int, code: int, use: str
) -> None:
    """When the file is whole again, the next loan is another connection, and works."""
    run(programs.read_nonsense, tmp_path, page, code, use)


# -- the nth call fails --------------------------------------------------------------------

CALLS = [
    ("write", "EIO", "wal"),
    ("write", "EIO", "delete"),
    ("write", "ENOSPC", "wal"),
    ("write", "ENOSPC", "delete"),
    ("sync", "EIO", "wal"),
    ("sync", "EIO", "delete"),
    ("open", "EMFILE", "delete"),
]


@pytest.mark.parametrize(("call", "error", "journal_mode"), CALLS)
def test_what_was_acknowledged_is_there_and_the_rest_is_whole_or_absent(
    library: Path, tmp_path: Path, call: str, error: str, journal_mode: str
) -> None:
    """Whichever write, sync or open fails: no block is lost or halved, and the file is sound."""
    control = tmp_path / "control"
    words = (tmp_path, call, error, journal_mode)
    printed = run(programs.fail_at_each, *words, library=library, control=control)
    met = printed.split().count("met")
    assert met > programs.TRIES // 8, "the faults were hardly ever met"
