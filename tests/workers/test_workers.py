"""Databases close when the workers that use them end, whatever kind of workers they are."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 60.0

pytestmark = pytest.mark.slow


def environment(**more: str) -> dict[str, str]:
    """For a program that finds the package and warns of everything."""
    path = os.pathsep.join([str(ROOT / "src"), str(HERE)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "always", **more}


def rows(file: Path) -> int:
    """How many notes there are."""
    with closing(connect(file)) as db:
        return int(db.execute("SELECT count(*) FROM note").fetchone()[0])


CASES = [
    *(
        (kind, method)
        for kind in ("pool", "process", "process_executor", "terminated_pool")
        for method in ("fork", "spawn", "forkserver")
    ),
    ("thread_executor", "spawn"),
    ("scheduler", "spawn"),
]


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_workers_of_a_program_end_in_order(tmp_path: Path, kind: str, method: str) -> None:
    """Nobody is warned of anything, no row is lost, and no ``-wal`` file is left."""
    if kind == "scheduler" and importlib.util.find_spec("apscheduler") is None:
        pytest.skip("apscheduler is not installed: its jobs are not tested")
    done = subprocess.run(
        [sys.executable, str(HERE / "worker_programs.py"), str(tmp_path), kind, method],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    if kind != "terminated_pool":  # whose processes may be told to end while they end already
        assert done.stderr == ""
        assert {file.name for file in tmp_path.iterdir()} == {"notes.db"}
    assert rows(tmp_path / "notes.db") >= int(done.stdout) > 0


@pytest.mark.servers
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_celery_worker_ends_in_order(tmp_path: Path, pool: str) -> None:
    """On SIGTERM, with the one function that ``docs/workers.md`` shows."""
    if importlib.util.find_spec("celery") is None:
        pytest.skip("celery is not installed: its workers are not tested")
    for name in ("queue", "control", "results", "data"):
        (tmp_path / name).mkdir()
    settings = environment(FOLDER=str(tmp_path))
    worker = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker"]
    send = (
        "from celery_tasks import write; print(sum(write.delay(1).get(timeout=30) for _ in 'ab'))"
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*worker, "--pool", pool, "-c", "2", "-l", "warning"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=settings,
        )
        try:
            sent = subprocess.run(
                [sys.executable, "-c", send],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
                env=settings,
            )
        finally:
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE)
    told = (tmp_path / "log").read_text()
    assert sent.stdout == "2\n", (sent.stderr, told)
    assert status == 0, told
    assert "ResourceWarning: unclosed database" not in told
    assert {file.name for file in (tmp_path / "data").iterdir()} == {"notes.db"}
    assert rows(tmp_path / "data" / "notes.db") == 2
