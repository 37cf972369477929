"""A process that has as many files open as it may."""

import resource
from pathlib import Path

import pytest

from faults.helpers import passes
from sqlite_container import Database, DatabaseOpenError, SQLiteDict


def anything(name: str) -> bool:
    """Whether there is a database of that name."""
    return bool(name)


def run_out_of_descriptors(folder: str, limit: str) -> None:
    """Open more databases than the process may have files, and say what happened."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    shops = SQLiteDict(f"{folder}/{{name}}.db", names=anything)
    opened: list[Database] = []
    with pytest.raises(
        DatabaseOpenError, match=r"as many files open as it may.*ulimit -n.*max_open"
    ):
        opened.extend(shops[f"t{number}"].database() for number in range(60))
    assert len(opened) > 5
    for database in opened:
        database.close()
    bounded = SQLiteDict(f"{folder}/{{name}}.db", names=anything, max_open=5)
    for number in range(60):
        with bounded[f"t{number}"].database().transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS note (title)")
    for name in bounded.names():
        bounded[name].database.close()


@pytest.mark.parametrize("limit", [60, 61, 62])  # for the first, second and third file of one
def test_no_descriptors_left_is_told_as_what_it_is(tmp_path: Path, limit: int) -> None:
    """And with a limit for what is open, there are enough."""
    passes(run_out_of_descriptors, tmp_path, limit)
