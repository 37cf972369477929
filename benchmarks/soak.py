"""Reload under load, kill at random moments, storm with signals, for a long time; print figures.

``python benchmarks/soak.py --reloads 1000 --kills 500 --storm 3600``
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ends.cases import SERVERS
from ends.runner import (
    FILES,
    Run,
    complaints,
    content,
    descriptors,
    processes_of,
    signal_group,
    wait_until,
)
from faults.helpers import end_of, start
from faults.test_faults_storms import ON_A_LOAN, each_its_own_loan, through_the_library

WRITERS = [*ON_A_LOAN, each_its_own_loan]
SLICE = 10.0
"""Seconds for which one writer stands in the storm."""

LIFE = {"ENDS_SECONDS": "100000"}


@dataclass
class Figures:
    """What was counted in one part of the soak."""

    what: str
    ends: int = 0
    acknowledged: int = 0
    lost: int = 0
    damaged: int = 0
    warnings: int = 0
    open_elsewhere: int = 0
    left: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    def row(self) -> str:
        """One line of a Markdown table."""
        cells = [
            self.what,
            self.ends,
            self.acknowledged,
            self.lost,
            self.damaged,
            self.warnings,
            self.open_elsewhere,
            self.left,
            f"{self.slowest:.1f} s",
            f"{self.seconds / 60:.1f} min",
        ]
        return "| " + " | ".join(map(str, cells)) + " |"

    @property
    def bad(self) -> bool:
        """Whether anything was lost, damaged, printed or left."""
        return any(
            [self.lost, self.damaged, self.warnings, self.open_elsewhere, self.left, self.examples]
        )


HEADER = (
    "| what | ends | rows acknowledged | lost | damaged | warnings | open elsewhere | files left"
    " | slowest end | took |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def soak_reloads(folder: Path, count: int) -> Figures:
    """Change a file again and again while clients write and slow queries run."""
    figures, began = Figures("reloads under load (`flask run --reload`)"), time.monotonic()
    run = Run(folder, SERVERS["flask --reload"].split(), LIFE)
    try:
        run.start()
        run.load.start(3)
        for number in range(count):
            run.load.hold(("/slow/wal", "/slow/journal", "/stream/wal")[number % 3])
            figures.slowest = max(figures.slowest, _reload(run))
            figures.ends += 1
            figures.open_elsewhere += len(descriptors(run.data)) > 1
            _say(f"{figures.what}: {figures.ends}, {run.load.count} rows")
        run.load.stop()
        signal_group(run.process, signal.SIGINT)
        run.ending()
        run.wait(10)
    except AssertionError as error:
        figures.examples.append(str(error)[:2000])
    finally:
        _count(figures, run)
        figures.seconds = time.monotonic() - began
    return figures


def _reload(run: Run) -> float:
    before, began = run.pid_that_answers(), time.monotonic()
    (run.code / "ends" / "ends_app.py").touch()
    wait_until(lambda: run.pid_that_answers() not in (0, before), 30, "a new child answers")
    return time.monotonic() - began


def soak_kills(folder: Path, count: int, seed: int) -> Figures:
    """Kill everything at a random moment, look, and start again with the same databases."""
    figures, began = Figures("SIGKILL at random moments (waitress)"), time.monotonic()
    chance = random.Random(seed)
    run = Run(folder, SERVERS["waitress"].split(), LIFE)
    try:
        for _ in range(count):
            run.start()
            run.load.start(3)
            time.sleep(chance.uniform(0.0, 0.6))
            signal_group(run.process, signal.SIGKILL)
            run.process.wait(10)
            run.load.stop()
            run.load.renew()
            figures.ends += 1
            _say(f"{figures.what}: {figures.ends}, {run.load.count} rows")
        run.start()
        for name in run.load.names:
            run.load.write(name)
        run.ending()
        os.kill(run.process.pid, signal.SIGTERM)
        run.wait(10)
    except AssertionError as error:
        figures.examples.append(str(error)[:2000])
    finally:
        _count(figures, run)
        figures.seconds = time.monotonic() - began
    return figures


def soak_storm(folder: Path, seconds: float, seed: int) -> Figures:
    """Let signal handlers raise in the midst of blocks, each slice with a seed of its own."""
    figures = Figures("storms of signals")
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        writer = WRITERS[figures.ends % len(WRITERS)]
        place = folder / str(figures.ends)
        place.mkdir(parents=True)
        _storm_once(figures, place, writer.__name__, seed + figures.ends)
        shutil.rmtree(place)
        _say(f"storms: {passed:.0f} of {seconds:.0f} s, {figures.lost} lost")
    figures.seconds = time.monotonic() - began
    return figures


def _storm_once(figures: Figures, place: Path, writer: str, seed: int) -> None:
    ended = end_of(start(through_the_library, place, writer, seed, SLICE), SLICE + 60)
    figures.ends += 1
    counted = re.search(r"(\d+) acknowledged, (\d+) lost, (\d+) half stored", ended.output)
    if counted is not None:
        figures.acknowledged += int(counted[1])
        figures.lost += int(counted[2])
        figures.damaged += int(counted[3])
    if ended.status:
        figures.warnings += 1
        figures.examples.append(f"{writer}, seed {seed}: {ended.output[-3000:]}")


def _count(figures: Figures, run: Run) -> None:
    run.close()
    figures.acknowledged = run.load.count
    printed = complaints(run.output())
    figures.warnings = len(printed)
    figures.examples += printed[:5]
    figures.left = len(list(run.data.glob("*.db-*")))
    if figures.bad:
        figures.examples.append(run.output()[-3000:])
    for name, file in FILES.items():
        rows, answer = content(run.data / file)
        figures.lost += len(run.load.acknowledged.get(name, set()) - rows)
        figures.damaged += answer != "ok"
    figures.open_elsewhere += len(processes_of(run.data))


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}", end="\x1b[K", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--storm", type=float, default=3600.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which to kill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        parts = []
        if given.reloads:
            parts.append(soak_reloads(Path(place, "reloads"), given.reloads))
        if given.kills:
            parts.append(soak_kills(Path(place, "kills"), given.kills, given.seed))
        if given.storm:
            parts.append(soak_storm(Path(place, "storms"), given.storm, given.seed))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(HEADER)
    print(*(part.row() for part in parts), sep="\n")
    for part in parts:
        for example in part.examples:
            print(f"\n{part.what}: {example}")
    return int(any(part.bad for part in parts))


if __name__ == "__main__":
    sys.exit(main())
