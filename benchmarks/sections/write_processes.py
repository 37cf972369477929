"""Writers in several processes, each with two threads."""

from __future__ import annotations

import pickle
import subprocess
from functools import partial
from statistics import median

from harness import write_loop
from harness.children import command, environment
from harness.measure import Effort, Files, interleave, remove, temporary_files
from harness.plots import lines
from harness.report_parts import Goal, Plot, Section, Table, at_least, at_most
from harness.write_loop import Tally, compare, merge, row
from peers.write import BASE, LIBRARY, PEERS

PROCESSES = (2, 4, 8)
THREADS = 2
MODES = {"1 ms of other work": 0.001, "tight loop": 0.0}
TEXT = (
    "The same with several processes of two threads each. Each process has a write queue of its"
    " own, and the first writers of all the queues compete. The goals are taken with 1 ms of other"
    " work."
)
FIGURES = (("p99 wait", "p99"), ("longest wait", "longest"))
Found = dict[tuple[str, int], dict[str, list[Tally]]]


def run(effort: Effort) -> Section:
    """Measure all peers with every number of processes."""
    effort = effort.shorter(1 if effort.quick else 2, 1.0)
    found: Found = {}
    with temporary_files() as files:
        for mode, think in MODES.items():
            for count in PROCESSES:
                cases = {
                    name: partial(_once, files, name, count, think, effort.seconds)
                    for name in PEERS
                }
                found[mode, count] = interleave(effort.rounds, cases)
    tables = [
        Table(
            f"{count} processes of {THREADS} threads, {mode}",
            write_loop.COLUMNS,
            [row(*each) for each in peers.items()],
        )
        for (mode, count), peers in found.items()
    ]
    return Section("Writers in several processes", TEXT, tables, [_plot(found)], _goals(found))


def _once(files: Files, name: str, count: int, think: float, seconds: float) -> Tally:
    path = files.fresh()
    writer = command("harness.write_loop", name, path, THREADS, think, seconds)
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(writer, env=environment(), stdin=pipe, stdout=pipe) for _ in range(count)
    ]
    try:
        return _write(workers, seconds)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        remove(path)


def _write(workers: list[subprocess.Popen[bytes]], seconds: float) -> Tally:
    for worker in workers:
        assert worker.stdout is not None
        if worker.stdout.readline() != b"ready\n":
            raise RuntimeError("a writing process did not start")
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    outputs = [worker.communicate(timeout=seconds + 60)[0] for worker in workers]
    return merge(Tally(*pickle.loads(output)) for output in outputs)


def _goals(found: Found) -> list[Goal]:
    four = found["1 ms of other work", 4]
    tight = found["tight loop", 4]
    errors = sum(each.errors for peers in (four, tight) for each in peers[LIBRARY])
    return [
        at_most("4 processes of 2 threads: p99 wait", compare(four, "p99", LIBRARY, BASE), 0.3),
        at_least("4 processes of 2 threads: throughput", compare(four, "rate", LIBRARY, BASE), 0.9),
        at_most("4 processes of 2 threads: errors at 5 s, both modes", errors, 0),
    ]


def _plot(found: Found) -> Plot:
    panels = {
        f"{label}, {mode}": {
            name: [(n, median(getattr(e, figure) for e in found[mode, n][name])) for n in PROCESSES]
            for name in PEERS
        }
        for mode, (label, figure) in zip(MODES, FIGURES, strict=True)
    }
    labels = ("processes of two threads", "ms")
    return Plot("processes", "Waits by number of processes", partial(lines, panels, labels))
