"""The cost of one request: a view with one primary-key SELECT, through Flask's test client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter

from flask import Flask

from harness.measure import ROWS, Effort, Files, interleave, ratio, temporary_files
from harness.plots import bars
from harness.report_parts import Plot, Section, Table, at_most
from peers import web, web_library
from peers.web_app import Served

TEXT = (
    "One `GET` of a view with one primary-key SELECT on a file of 100,000 rows, through Flask's"
    " test client, in one thread. The ratio is to the same view without a database."
)


def run(effort: Effort) -> Section:
    """Measure all peers."""
    # Short rounds, and many of them: the machine is seldom quiet for long.
    effort = replace(effort, rounds=effort.rounds * 8, requests=effort.requests // 8)
    with temporary_files() as files:
        found = _requests(effort, files)
        added = _added(effort, files)
    base = found[web.NOTHING]
    ratios = {name: ratio(times, base) for name, times in found.items()}
    rows = [
        (name, round(median(times) * 1e6, 1), round(ratios[name], 2))
        for name, times in found.items()
    ]
    rows.sort(key=lambda row: row[2])
    table = Table("One request", ("peer", "median µs", "ratio to no database"), rows)
    extra = Table(
        "What the library adds to a plain call in an app context, without a statement",
        ("figure", "µs"),
        [("inject, check out, give back", round(added, 2))],
    )
    goals = [
        at_most("request with `@inject` and one SELECT, over none", ratios[web.LIBRARY], 1.10),
        at_most("added to a plain call: inject, check out, give back", added, 6, " µs"),
    ]
    draw = partial(bars, {row[0]: row[2] for row in rows}, "times a view without a database")
    plot = Plot("request-cost", "Cost of one request for each peer", draw)
    return Section("The cost of one request", TEXT, [table, extra], [plot], goals)


def _requests(effort: Effort, files: Files) -> dict[str, list[float]]:
    with ExitStack() as stack:
        cases = {}
        for name in web.NAMES:
            served = web.create(name, str(files.fresh()))
            stack.callback(served.close)
            cases[name] = partial(_round, served, effort.requests)
        for case in cases.values():
            case()
        return interleave(effort.rounds, cases)


def _round(served: Served, count: int) -> float:
    """Seconds for one request."""
    get = served.app.test_client().get
    paths = [f"/item/{1 + number * 7919 % ROWS}" for number in range(count)]
    get(paths[0])
    served.tidy()
    took = _timed(lambda: [get(path) for path in paths])
    if get(paths[0]).status_code != 200:
        raise RuntimeError("a peer does not answer")
    served.tidy()
    return took / count


def _added(effort: Effort, files: Files) -> float:
    """Microseconds that injection adds to a call in an app context of its own."""
    served = web_library.create(str(files.fresh()))
    count = effort.requests * 10
    cases = {
        "plain": partial(_calls, Flask(__name__), web_library.nothing, count),
        "injected": partial(_calls, served.app, web_library.injected, count),
    }
    try:
        found = interleave(effort.rounds, cases)
    finally:
        served.close()
    return median(b - a for a, b in zip(found["plain"], found["injected"], strict=True)) * 1e6


def _calls(app: Flask, function: Callable[[], str], count: int) -> float:
    def calls() -> None:
        for _ in range(count):
            with app.app_context():
                function()

    return _timed(calls) / count


def _timed(function: Callable[[], object]) -> float:
    began = perf_counter()
    function()
    return perf_counter() - began
