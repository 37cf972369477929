"""Writers in one process."""

from __future__ import annotations

from functools import partial
from statistics import median

from harness import write_loop
from harness.measure import Effort, Files, interleave, remove, temporary_files
from harness.plots import lines
from harness.report_parts import Goal, Plot, Section, Table, at_least, at_most
from harness.write_loop import Tally, compare, row
from peers.write import BASE, LIBRARY, PEERS

THREADS = (1, 2, 4, 8, 16)
MODES = {"1 ms of other work": 0.001, "tight loop": 0.0}
TEXT = (
    "Each transaction is BEGIN IMMEDIATE, one UPDATE by primary key, COMMIT, on a file of 100,000"
    " rows. The wait is the time from the call until the transaction may write (for"
    " Flask-SQLAlchemy, until the UPDATE is done; for SqliteQueueDatabase, which has no"
    " transactions but queues single statements, until all of it is done). The millisecond of"
    " other work is a sleep between two transactions. *This library* and *busy_timeout alone* keep"
    " one connection per thread, and the goals compare these two. Automatic checkpoints are on"
    " everywhere. Behind the library's write queue they complete, and the `-wal` stays at 1,000"
    " pages; with busy_timeout alone it grows for as long as anybody writes."
)
FIGURES = (("p99 wait", "p99"), ("longest wait", "longest"))
Found = dict[tuple[str, int], dict[str, list[Tally]]]


def run(effort: Effort) -> Section:
    """Measure all peers with every number of threads."""
    effort = effort.shorter(1 if effort.quick else 3, 1.0)
    found: Found = {}
    with temporary_files() as files:
        for mode, think in MODES.items():
            for threads in THREADS:
                cases = {
                    name: partial(_once, files, name, threads, think, effort.seconds)
                    for name in PEERS
                }
                found[mode, threads] = interleave(effort.rounds, cases)
    tables = [
        Table(
            f"{threads} thread{'s' * (threads > 1)}, {mode}",
            write_loop.COLUMNS,
            [row(*each) for each in peers.items()],
        )
        for (mode, threads), peers in found.items()
    ]
    return Section("Writers in one process", TEXT, tables, [_plot(found)], _goals(found))


def _once(files: Files, name: str, threads: int, think: float, seconds: float) -> Tally:
    path = files.fresh()
    store = PEERS[name](str(path))
    try:
        return write_loop.write(store, threads, think, seconds)
    finally:
        store.close()
        remove(path)


def _goals(found: Found) -> list[Goal]:
    thinking, tight = found["1 ms of other work", 8], found["tight loop", 8]
    ours = tight[LIBRARY]
    errors = sum(each.errors for each in thinking[LIBRARY])
    return [
        at_least("8 writers, 1 ms: throughput", compare(thinking, "rate", LIBRARY, BASE), 1.0),
        at_most("8 writers, 1 ms: p99 wait", compare(thinking, "p99", LIBRARY, BASE), 0.2),
        at_most("8 writers, 1 ms: longest", compare(thinking, "longest", LIBRARY, BASE), 0.25),
        at_most("8 writers, 1 ms: errors", errors, 0),
        at_least("8 writers, tight: slowest/fastest", median(e.fairness for e in ours), 0.85),
        at_most("8 writers, tight: longest", median(e.longest for e in ours), 20, " ms"),
        at_least("8 writers, tight: throughput", compare(tight, "rate", LIBRARY, BASE), 0.6),
        at_most("8 writers, tight: errors", sum(each.errors for each in ours), 0),
    ]


def _plot(found: Found) -> Plot:
    panels = {
        f"{label}, {mode}": {
            name: [(n, median(getattr(e, figure) for e in found[mode, n][name])) for n in THREADS]
            for name in PEERS
        }
        for mode, (label, figure) in zip(MODES, FIGURES, strict=True)
    }
    return Plot("writers", "Waits by number of threads", partial(lines, panels, ("threads", "ms")))
