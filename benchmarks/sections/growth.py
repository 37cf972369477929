"""Growth: more databases, more threads, more requests. Each case runs in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from harness.children import command, environment
from harness.measure import READ, ROWS, Effort, temporary_files
from harness.report_parts import Section, Table, at_most

DATABASES = (1, 10, 100)
THREADS = (1, 8, 64)
REQUESTS = 2_000
MANY_REQUESTS = 10_000
MAX_SIZE = 10
TEXT = (
    "A `SQLiteDict` of 1 to 100 databases of 100,000 rows, all of which each thread reads in turn"
    f" through `Database.reader()`, {REQUESTS:,} reads in all; `pool.max_size` is {MAX_SIZE}."
    " Memory and descriptors are what the process has more than before it opened any."
)


def run(effort: Effort) -> Section:
    """Measure every number of databases and threads, then many requests to one app."""
    with temporary_files() as files:
        paths = [str(files.fresh()) for _ in range(DATABASES[-1])]
        rows = [
            (databases, threads, *_figures(paths[:databases], threads, effort))
            for databases in DATABASES
            for threads in THREADS
        ]
        count = MANY_REQUESTS // 10 if effort.quick else MANY_REQUESTS
        many = _child(["requests", str(count), paths[0]])
    columns = ("databases", "threads", "open ms", "µs per read", "memory MB", "descriptors")
    table = Table("Databases and threads", columns, rows)
    steps = Table(
        f"One app, {count:,} requests from {MAX_SIZE * 2} threads",
        ("requests", "memory MB", "descriptors", "connections"),
        [tuple(step) for step in many],
    )
    early, late = many[1], many[-1]
    limit = 2 * (MAX_SIZE - 1)  # a database and a -wal for each connection but the first
    goals = [
        at_most("descriptors after all requests, over those before", late[2] - many[0][2], limit),
        at_most("memory after all requests, over that after a tenth", late[1] - early[1], 1, " MB"),
        at_most("connections after all requests (max_size)", late[3], MAX_SIZE),
    ]
    return Section("Growth", TEXT, [table, steps], [], goals)


def _figures(paths: list[str], threads: int, effort: Effort) -> list[float]:
    count = 1 if effort.quick else 3
    runs = [_child(["databases", str(threads), *paths]) for _ in range(count)]
    return [round(median(values), 1) for values in zip(*runs, strict=True)]


def _child(arguments: list[str]) -> Any:
    done = subprocess.run(
        command(__name__, *arguments),
        env=environment(),
        capture_output=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


def _memory() -> float:
    """Megabytes of the process that are in memory; 0 where the system does not tell."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    return 0.0


def _descriptors() -> int:
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        with contextlib.suppress(OSError):
            return len(list(folder.iterdir()))
    return 0


def _in_threads(threads: int, function: Any) -> None:
    workers = [threading.Thread(target=function, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _databases(threads: int, paths: list[str]) -> list[float]:
    from dependency_injector import containers

    from sqlite_container import SQLiteDict, shutdown

    class Container(containers.DeclarativeContainer):
        all = SQLiteDict(
            {f"db{n}": {"path": p, "pool": {"max_size": MAX_SIZE}} for n, p in enumerate(paths)}
        )

    memory, descriptors = _memory(), _descriptors()
    began = perf_counter()
    container = Container()
    databases = [container.all[name].database() for name in container.all.names()]
    opened = perf_counter() - began
    each = max(1, REQUESTS // threads)

    def read(number: int) -> None:
        for turn in range(each):
            with databases[(number + turn) % len(databases)].reader() as db:
                db.execute(READ, (1 + turn * 7919 % ROWS,)).fetchone()

    began = perf_counter()
    _in_threads(threads, read)
    took = (perf_counter() - began) / (each * threads)
    more = _memory() - memory, _descriptors() - descriptors
    shutdown(container)
    return [opened * 1e3, took * 1e6, *more]


def _requests(count: int, path: str) -> list[list[float]]:
    from peers import web_library

    served = web_library.create(path)
    database = served.app.container.items.database()  # type: ignore[attr-defined]
    threads = MAX_SIZE * 2

    def ask(number: int) -> None:
        client = served.app.test_client()
        for turn in range(count // 10 // threads):
            client.get(f"/item/{1 + (number + turn) % ROWS}")

    steps = []
    for step in range(11):
        if step:
            _in_threads(threads, ask)
        size = database.stats()["pool_size"]
        steps.append([step * count // 10, round(_memory(), 1), _descriptors(), size])
    served.close()
    return steps


if __name__ == "__main__":
    if sys.argv[1] == "databases":
        print(json.dumps(_databases(int(sys.argv[2]), sys.argv[3:])))
    else:
        print(json.dumps(_requests(int(sys.argv[2]), sys.argv[3])))
