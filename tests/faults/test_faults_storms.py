"""A signal handler that raises amid thousands of blocks on one loan loses none of them.

What stands after a block is reached only if the block is stored, and then it stays stored. A
block writes two rows, so half of one would be seen. Plain sqlite3 holds that in the same storm.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from faults.helpers import SCHEMA, Storm, opened, passes
from sqlite_container import Database

SECONDS, SEED = 2.0, 11
INSERT = "INSERT INTO half VALUES (?, ?)"

Writer = Callable[[Storm, Any, Iterator[int], list[int]], None]
"""Writes blocks until a signal comes, and notes the number of each that is stored."""


def in_one_function(storm: Storm, db: Any, numbers: Iterator[int], done: list[int]) -> None:
    """Blocks of the loop itself."""
    while storm.armed:
        number = next(numbers)
        with db:
            db.execute(INSERT, (number, "left"))
            db.execute(INSERT, (number, "right"))
        done.append(number)


def write_one(db: Any, number: int) -> None:
    """Write a block in a call of its own."""
    with db:
        db.execute(INSERT, (number, "left"))
        db.execute(INSERT, (number, "right"))


def in_another_frame(storm: Storm, db: Any, numbers: Iterator[int], done: list[int]) -> None:
    """Blocks of a function that the loop calls."""
    while storm.armed:
        number = next(numbers)
        write_one(db, number)
        done.append(number)


def nested(storm: Storm, db: Any, numbers: Iterator[int], done: list[int]) -> None:
    """A block inside another one."""
    while storm.armed:
        number = next(numbers)
        with db:
            db.execute(INSERT, (number, "left"))
            with db:
                db.execute(INSERT, (number, "right"))
        done.append(number)


def nested_in_frames(storm: Storm, db: Any, numbers: Iterator[int], done: list[int]) -> None:
    """A block that calls a function with a block."""
    while storm.armed:
        number = next(numbers)
        with db:
            write_one(db, number)
        done.append(number)


def in_an_exit_stack(storm: Storm, db: Any, numbers: Iterator[int], done: list[int]) -> None:
    """Blocks that an ExitStack ends."""
    while storm.armed:
        number = next(numbers)
        with ExitStack() as stack:
            stack.enter_context(db)
            db.execute(INSERT, (number, "left"))
            db.execute(INSERT, (number, "right"))
        done.append(number)


def by_name(storm: Storm, db: Any, numbers: Iterator[int], done: list[int]) -> None:
    """Blocks of ``db.transaction()``."""
    while storm.armed:
        number = next(numbers)
        with db.transaction():
            db.execute(INSERT, (number, "left"))
            db.execute(INSERT, (number, "right"))
        done.append(number)


def each_its_own_loan(
    storm: Storm, database: Database, numbers: Iterator[int], done: list[int]
) -> None:
    """Transactions of the database, each with a loan of its own."""
    while storm.armed:
        number = next(numbers)
        with database.transaction() as db:
            db.execute(INSERT, (number, "left"))
            db.execute(INSERT, (number, "right"))
        done.append(number)


ON_A_LOAN: list[Writer] = [
    in_one_function,
    in_another_frame,
    nested,
    nested_in_frames,
    in_an_exit_stack,
    by_name,
]
PLAIN: list[Writer] = [in_one_function, in_another_frame, in_an_exit_stack]


# -- the programs --------------------------------------------------------------------------


def through_the_library(folder: str, name: str, *storm: str) -> None:
    """Blow at a writer that uses the library, and look at what is stored.

    ``storm`` is its seed and its length in seconds.
    """
    with opened(Path(folder), synchronous="off") as database:
        if name == each_its_own_loan.__name__:
            done = blow_at(name, database, *storm)
        else:
            with database.connection() as db:
                done = blow_at(name, db, *storm)
        check(Path(folder, "data", "notes.db"), done)


def through_sqlite3(folder: str, name: str) -> None:
    """Blow at the same writer with a connection of sqlite3."""
    file = Path(folder, "notes.db")
    with closing(sqlite3.connect(file, isolation_level="IMMEDIATE")) as db:
        db.executescript(f"PRAGMA journal_mode = wal; PRAGMA synchronous = off; {SCHEMA}")
        done = blow_at(name, db)
    check(file, done)


def blow_at(
    name: str, target: object, seed: str | int = SEED, seconds: str | float = SECONDS
) -> list[int]:
    """Return the numbers of the blocks whose ends were reached."""
    writer: Writer = globals()[name]
    done: list[int] = []
    storm = Storm(int(seed))
    storm.blow(partial(writer, storm, target, count(1), done), float(seconds))
    assert storm.raised
    return done


def check(file: Path, done: list[int]) -> None:
    """Fail if a block is missing whose end was reached, or if only half of one is there."""
    with closing(sqlite3.connect(file)) as db:
        rows = Counter(block for (block,) in db.execute("SELECT block FROM half"))
    lost = [number for number in done if number not in rows]
    halves = [number for number in rows if rows[number] != 2]
    print(f"{len(done)} acknowledged, {len(lost)} lost, {len(halves)} half stored")
    assert done
    assert not lost
    assert not halves


# -- the tests -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("writer", [*ON_A_LOAN, each_its_own_loan], ids=lambda each: each.__name__)
def test_a_block_whose_end_was_reached_is_stored_whole(tmp_path: Path, writer: Writer) -> None:
    """Whatever a signal handler raises, no acknowledged block is lost, and none is half stored."""
    passes(through_the_library, tmp_path, writer.__name__)


@pytest.mark.slow
@pytest.mark.parametrize("writer", PLAIN, ids=lambda each: each.__name__)
def test_plain_sqlite3_stands_the_same_storm(tmp_path: Path, writer: Writer) -> None:
    """The measure is a fair one: sqlite3 itself loses no block in it."""
    passes(through_sqlite3, tmp_path, writer.__name__)
