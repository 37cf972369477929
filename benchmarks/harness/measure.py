"""Measuring: interleaved rounds, medians, ratios within one run, and fresh files."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")

ROWS = 100_000
READ = "SELECT name FROM item WHERE id = ?"
WRITE = "UPDATE item SET n = n + 1 WHERE id = ?"
PRAGMAS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL")
BUSY_TIMEOUT = 5.0


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    requests: int
    quick: bool = False

    def shorter(self, rounds: int, seconds: float) -> Effort:
        """The same for what takes longer: at most so many rounds of so many seconds."""
        return Effort(
            min(self.rounds, rounds), min(self.seconds, seconds), self.requests, self.quick
        )


FULL = Effort(rounds=15, seconds=1.0, requests=400)
QUICK = Effort(rounds=3, seconds=0.2, requests=100, quick=True)


def interleave(rounds: int, cases: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run the cases A B C A B C …, so that a noisy moment of the machine hits all of them."""
    results: dict[str, list[T]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            results[name].append(run())
    return results


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios of each round."""
    return median(each / other for each, other in zip(values, base, strict=True) if other)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of an ordered sequence does not exceed; 0 if it is empty."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Files:
    """A prepared database file, copied fresh for every use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._master = folder / "master.db"
        _build(self._master)
        self._numbers = itertools.count(1)  # several threads may ask at once

    def fresh(self) -> Path:
        """A new copy, in a folder of its own."""
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        return Path(shutil.copy(self._master, folder / "bench.db"))


@contextlib.contextmanager
def temporary_files() -> Iterator[Files]:
    """The files of one benchmark, deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Files(Path(folder))


def remove(path: Path) -> None:
    """Delete a copy that is not needed any more."""
    shutil.rmtree(path.parent, ignore_errors=True)


def connect(path: str | Path, **options: object) -> sqlite3.Connection:
    """A plain connection with the settings that all peers have."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, **options)  # type: ignore[call-overload]
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection  # type: ignore[no-any-return]


def set_pragmas(connection: Any, _: object) -> None:
    """The same for SQLAlchemy's "connect" event."""
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _build(path: Path) -> None:
    with contextlib.closing(connect(path)) as db, db:
        db.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER)")
        rows = ((number, f"item {number}", 0) for number in range(1, ROWS + 1))
        db.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
