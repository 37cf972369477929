"""Every way in which a process ends: nothing open, nothing lost, no warning."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from ends.cases import CASES, WAL, Case
from ends.runner import Run

SCENARIOS = {
    "fork_when_idle": 0,
    "fork_when_borrowed": 0,
    "fork_between_statements": 0,
    "fork_with_open_cursor": 0,
    "fork_beside_a_transaction": 0,
    "fork_in_a_thread": 0,
    "fork_beside_a_statement": 0,
    "grandchild": 0,
    "many_forks_under_load": 0,
    "multiprocessing_children": 0,
    "process_pool": 0,
    "executor_joined_at_exit": 0,
    "thread_joined_at_exit": 0,
    "daemon_threads": 0,
    "refused_during_shutdown": 0,
    "exit_in_a_transaction": 3,
    "term_in_a_transaction": 143,
    "user_function_at_exit": 0,
    "own_handler_stays": 0,
    "signals_switched_off": 0,
    "made_in_a_thread": 0,
    "without_goodbye": 9,
    "replaced_by_exec": 0,
}
"""Each program of ``scenarios.py``, and the exit status that it has to have."""
UNCATCHABLE = ("without_goodbye", "replaced_by_exec")
AT_A_TIME = 2
"""So many servers run at the same moment: most of the time they wait."""

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[list[str]]]]:
    """The cases that were selected, running in the background in the order of the tests."""
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    given = [getattr(item, "callspec", None) for item in functions]
    values = [spec.params.get("case") for spec in given if spec is not None]
    chosen = [case for case in values if isinstance(case, Case)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {case.name: pool.submit(case.run, tmp_path_factory.mktemp("case")) for case in chosen}
        pool.shutdown(cancel_futures=True)


def _missing(case: Case) -> str:
    module = {"script": "", "app.run(debug=True)": "flask"}.get(case.server, case.server.split()[0])
    if module in ("uwsgi", "gunicorn"):
        there = shutil.which(module, path=str(Path(sys.executable).parent)) is not None
    else:
        there = not module or find_spec(module) is not None
    return "" if there else f"{module} is not installed here; the group 'servers' has it"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_server_ends_in_order(case: Case, outcomes: dict[str, Future[list[str]]]) -> None:
    """Exit status, time, output, files, descriptors, processes and rows are as the table says."""
    if missing := _missing(case):
        pytest.fail(missing)
    problems = outcomes[case.name].result()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", SCENARIOS)
def test_program_ends_in_order(name: str, tmp_path: Path) -> None:
    """A program that forks, or has threads, or leaves in its own way, loses and leaves nothing."""
    run = Run(tmp_path / "run", ["{python}", "-m", "ends.scenarios", name])
    try:
        run.run_to_end(30)
        result = run.look()
    finally:
        run.close()
    left = [] if name in UNCATCHABLE else result.left
    assert set(result.left) <= set(WAL)
    seen = (result.status, result.warnings, left, result.descriptors, result.orphans)
    assert seen == (SCENARIOS[name], [], [], {}, []), result.output
    assert (result.lost, result.integrity) == ([], [])


def test_a_thread_is_refused_while_the_databases_close(tmp_path: Path) -> None:
    """A thread that asks for a connection during shutdown is told that the database is closed."""
    run = Run(tmp_path / "run", ["{python}", "-m", "ends.scenarios", "refused_during_shutdown"])
    try:
        run.run_to_end(30)
    finally:
        run.close()
    assert (run.data / "refusal").read_text() == "DatabaseClosed"
