"""A real server: gunicorn with 8 threads, 90 % reads and 10 % writes."""

from __future__ import annotations

import contextlib
import pickle
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from harness.children import command, environment
from harness.measure import Effort, Files, interleave, percentile, remove, temporary_files
from harness.plots import bars
from harness.report_parts import Goal, Plot, Section, Table
from peers import web

THREADS = 8
CLIENTS = 2
CONNECTIONS = 8
WRITES = 0.1
TEXT = (
    "gunicorn, one worker with 8 threads, and two client processes with 8 keep-alive connections"
    " each on the same machine: 90 % `GET` (one primary-key SELECT), 10 % `POST` (one UPDATE in a"
    " transaction of its own) on 100,000 rows. The server may open 1,024 files. An error is an"
    " answer other than 200, or none. *No database* and *one global connection* (with a lock"
    " around each request) are references; the library should be ahead of all others. *With block*"
    " checks a connection out by hand, without `@inject`, as the other pools are used."
)


@dataclass
class Answered:
    """What the clients saw in one run."""

    rate: float
    p50: float
    p99: float
    errors: int


def run(effort: Effort) -> Section:
    """Measure all peers."""
    effort = effort.shorter(3, 1.0)
    seconds = effort.seconds * 3
    with temporary_files() as files:
        cases = {name: partial(_once, files, name, seconds) for name in web.NAMES}
        found = interleave(1 if effort.quick else effort.rounds, cases)
    rows = [
        (
            name,
            round(_median(runs, "rate")),
            round(_median(runs, "p50"), 2),
            round(_median(runs, "p99"), 2),
            sum(each.errors for each in runs),
        )
        for name, runs in found.items()
    ]
    rows.sort(key=lambda row: -row[1])
    columns = ("peer", "requests/s", "p50 ms", "p99 ms", "errors")
    table = Table("gunicorn with 8 threads, 90 % reads, 10 % writes", columns, rows)
    draw = partial(bars, {row[0]: row[1] for row in rows}, "requests per second")
    plot = Plot("server", "Requests per second for each peer", draw)
    return Section("A real server", TEXT, [table], [plot], _goals(found))


def _median(runs: list[Answered], figure: str) -> float:
    return float(median(getattr(each, figure) for each in runs))


def _goals(found: dict[str, list[Answered]]) -> list[Goal]:
    others = [name for name in found if name not in (*web.OURS, *web.REFERENCES)]
    # A peer that fails is no competition: who refuses a request is quick.
    sound = [name for name in others if not sum(each.errors for each in found[name])]
    rate, p99 = (_median(found[web.LIBRARY], figure) for figure in ("rate", "p99"))
    best = max((_median(found[name], "rate"), name) for name in sound)
    quickest = min((_median(found[name], "p99"), name) for name in sound)
    errors = sum(each.errors for name in web.OURS for each in found[name])
    return [
        Goal(
            "real server: requests per second",
            f"> {best[0]:.0f} ({best[1]}, the best peer without errors)",
            f"{rate:.0f}",
            rate > best[0],
        ),
        Goal(
            "real server: p99",
            f"< {quickest[0]:.1f} ms ({quickest[1]}, the best peer without errors)",
            f"{p99:.1f} ms",
            p99 < quickest[0],
        ),
        Goal("real server: errors", "0", str(errors), not errors),
    ]


def _once(files: Files, name: str, seconds: float) -> Answered:
    path = files.fresh()
    try:
        with _served(name, path) as port:
            _load(port, min(1.0, seconds / 3))
            began = time.perf_counter()
            times, errors = _load(port, seconds)
            took = min(time.perf_counter() - began, seconds)
    finally:
        remove(path)
    p50, p99 = (percentile(times, share) * 1e3 for share in (0.5, 0.99))
    return Answered(len(times) / took, p50, p99, errors)


def _load(port: int, seconds: float) -> tuple[list[float], int]:
    """Every client's times together, ordered, and the errors."""
    options = (port, CONNECTIONS, seconds, WRITES)
    clients = [
        subprocess.Popen(
            command("harness.http_load", *options, seed),
            env=environment(),
            stdout=subprocess.PIPE,
        )
        for seed in range(CLIENTS)
    ]
    found = [pickle.loads(client.communicate(timeout=seconds + 60)[0]) for client in clients]
    return sorted(each for times, _ in found for each in times), sum(each for _, each in found)


@contextlib.contextmanager
def _served(name: str, path: Path) -> Iterator[int]:
    port = _free_port()
    options = f"--workers 1 --worker-class gthread --threads {THREADS} --keep-alive 30"
    options += f" --bind 127.0.0.1:{port} --graceful-timeout 5 --log-level critical"
    server = subprocess.Popen(
        command("gunicorn", *options.split(), "harness.gunicorn_app:create_app()"),
        env=environment(BENCH_PEER=name, BENCH_FILE=str(path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")
