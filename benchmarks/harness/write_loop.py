"""Threads that write in a loop, and what their waits come to. As a script: one process of them."""

from __future__ import annotations

import pickle
import random
import sys
import threading
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

from harness.measure import ROWS, percentile, ratio
from peers.write import PEERS, Increment, Store


@dataclass
class Tally:
    """Seconds each transaction waited, by thread; how many failed; how long it all took."""

    threads: list[array[float]]
    errors: int = 0
    seconds: float = 0.0
    _ordered: list[float] = field(default_factory=list)

    @property
    def ordered(self) -> list[float]:
        """All waits, the shortest first."""
        if not self._ordered:
            self._ordered = sorted(each for thread in self.threads for each in thread)
        return self._ordered

    @property
    def rate(self) -> float:
        """Transactions per second."""
        return len(self.ordered) / self.seconds

    @property
    def median(self) -> float:
        """Milliseconds."""
        return percentile(self.ordered, 0.5) * 1e3

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return percentile(self.ordered, 0.99) * 1e3

    @property
    def longest(self) -> float:
        """Milliseconds."""
        return percentile(self.ordered, 1.0) * 1e3

    @property
    def fairness(self) -> float:
        """Transactions of the slowest thread over those of the fastest."""
        counts = [len(thread) for thread in self.threads]
        return min(counts) / max(*counts, 1)


def merge(tallies: Iterable[Tally]) -> Tally:
    """Several processes as one."""
    each = list(tallies)
    return Tally(
        [thread for tally in each for thread in tally.threads],
        sum(tally.errors for tally in each),
        max(tally.seconds for tally in each),
    )


def write(store: Store, threads: int, think: float, seconds: float) -> Tally:
    """Let so many threads write, each with ``think`` seconds of other work in between."""
    tally = Tally([array("d") for _ in range(threads)])
    ready, stop = threading.Barrier(threads + 1), threading.Event()

    def loop(number: int) -> None:
        with store.session() as increment:
            increment(1)
            ready.wait()
            tally.errors += _loop(increment, tally.threads[number], think, stop)

    workers = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = perf_counter()
    stop.wait(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    tally.seconds = perf_counter() - began
    return tally


def _loop(increment: Increment, times: array[float], think: float, stop: threading.Event) -> int:
    errors, numbers = 0, random.Random(len(times))
    while not stop.is_set():
        began = perf_counter()
        try:
            times.append(increment(numbers.randint(1, ROWS)) - began)
        except Exception:  # noqa: BLE001  any failure of any peer counts
            errors += 1
        if think:
            time.sleep(think)
    return errors


COLUMNS = (
    "peer",
    "transactions/s",
    "median wait ms",
    "p99 wait ms",
    "longest wait ms",
    "slowest/fastest",
    "errors",
)


def row(name: str, tallies: list[Tally]) -> list[str | float | int]:
    """The figures of one peer over all rounds."""
    return [
        name,
        round(median(each.rate for each in tallies)),
        round(median(each.median for each in tallies), 3),
        round(median(each.p99 for each in tallies), 2),
        round(median(each.longest for each in tallies), 1),
        round(median(each.fairness for each in tallies), 2),
        sum(each.errors for each in tallies),
    ]


def compare(found: dict[str, list[Tally]], figure: str, name: str, base: str) -> float:
    """The ratio of one peer's figure to another's."""
    values = {each: [getattr(tally, figure) for tally in found[each]] for each in (name, base)}
    return ratio(values[name], values[base])


def main(peer: str, path: str, threads: int, think: float, seconds: float) -> None:
    """Open, say that it is ready, wait for a line, write, and print the tally."""
    store = PEERS[peer](path)
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    sys.stdin.readline()
    tally = write(store, threads, think, seconds)
    store.close()
    sys.stdout.buffer.write(pickle.dumps((tally.threads, tally.errors, tally.seconds)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
