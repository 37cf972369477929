"""What the library makes of a BEGIN that took long: was another process writing?"""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from common.databases import PATIENCE, Open, add, count, plain
from sqlite_container import DatabaseBusy
from sqlite_container.writing import begin
from sqlite_container.writing.contention import Contention


def probes(rivals: Contention, now: float) -> int:
    """How many of the next hundred BEGINs expect another process."""
    return sum(rivals.is_expected(now) for _ in range(100))


def test_a_suspicion_is_looked_into_and_forgotten() -> None:
    """A few tries show whether anybody is there."""
    rivals = Contention()
    assert probes(rivals, 0) == 0
    rivals.suspect(1)
    assert 0 < probes(rivals, 1) < 50
    assert probes(rivals, 1) == 0


def test_suspicions_that_prove_wrong_become_rare() -> None:
    """A BEGIN that waits for the interpreter's lock costs less and less."""
    rivals, looked = Contention(), 0
    for millisecond in range(10_000):
        rivals.suspect(millisecond / 1000)
        looked += probes(rivals, millisecond / 1000)
    assert 0 < looked < 320  # about once a second in the end, 16 times each


def test_who_was_met_is_expected_for_a_while() -> None:
    """And is suspected again at once after that."""
    rivals = Contention()
    for second in range(20):
        rivals.suspect(second)
        probes(rivals, second)
    rivals.met(20)
    assert probes(rivals, 24.9) == 100
    assert probes(rivals, 25.1) == 0
    rivals.suspect(25.1)
    assert probes(rivals, 25.1) > 0


def test_another_process_that_writes_is_met(open_database: Open, path: Path) -> None:
    """A try that finds the file locked is the proof; SQLite's waiting is as configured again."""
    database = open_database(busy_timeout=0.05, pool={"max_size": 1})
    with database.connection() as db:
        rivals = db.lender.write_lock.contention
    with plain(path) as other:
        other.execute("BEGIN IMMEDIATE")
        rivals.suspect(monotonic())
        with pytest.raises(DatabaseBusy, match="another process"):
            add(database)
    assert probes(rivals, monotonic()) == 100
    for use in (count, add):
        use(database)
        with database.connection() as db:
            assert db.execute("PRAGMA busy_timeout").fetchone() == (50,)


def test_an_exception_amid_the_tries_costs_the_connection(
    open_database: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next does not find SQLite's waiting switched off."""
    database = open_database(busy_timeout=PATIENCE, pool={"max_size": 1})
    with database.connection() as db:
        db.lender.write_lock.contention.suspect(monotonic())
    monkeypatch.setattr(begin, "sleep", interrupt)
    with plain(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(KeyboardInterrupt):
            add(database)
    with database.connection() as db:
        assert db.execute("PRAGMA busy_timeout").fetchone() == (PATIENCE * 1000,)


def interrupt(_: float) -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt
