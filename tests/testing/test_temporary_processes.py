"""Processes that are forked in a block, and one that is killed in it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sqlite_container import shutdown
from testing.helpers import content, run_script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

START = """
import json, os, signal, sys, tempfile, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from sqlite_container import shutdown
from sqlite_container.testing import files as temporary
from sqlite_container.testing import isolated, temporary_databases
from testing.helpers import add, content, count, make

here = Path.cwd()
for name in ("memory", "disk"):
    (here / name).mkdir()
temporary._MEMORY, tempfile.tempdir = str(here / "memory"), str(here / "disk")
shop = make(here)

def add_one(_=None):
    add(shop.notes.database())
    return count(shop.notes.database())

def attempt(_=None):
    try:
        return add_one()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def left():
    return [str(each.relative_to(here)) for name in ("memory", "disk")
            for each in (here / name).rglob("*") if each.is_file()]

def in_child(work):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(said)
"""


GONE = "this process was forked within a temporary_databases() block that is over; end it there"


@pytest.fixture
def closed(shop: Any) -> None:
    """Leave the files of the shop to another process."""
    shutdown(shop)


def told(folder: Path, code: str) -> Any:
    """What a program says, which ends well."""
    done = run_script(folder, START + code)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("used", ["before", "after"])
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "pass"])
def test_a_forked_process_shares_the_files_and_leaves_them_alone(
    tmp_path: Path, used: str, end: str
) -> None:
    """Whoever uses a database first, parent and child have the same, and the child deletes none.

    However the child ends: at once, with its clean-up, or by running out of the block.
    """
    before = content(tmp_path)
    out = told(
        tmp_path,
        f"""
assert count(shop.notes.database()) == 1
with temporary_databases(shop):
    rows = [add_one()] if {used == "before"} else []
    pid = os.fork()
    if pid == 0:
        add_one()
        {end}
    else:
        assert os.waitpid(pid, 0)[1] == 0
        rows += [add_one(), count(shop.tenants["acme"].database())]
if pid:
    print(json.dumps([rows, count(shop.notes.database()), left()]))
""",
    )
    assert out == [[1, 3, 0] if used == "before" else [2, 0], 1, []]
    assert content(tmp_path) == before


@pytest.mark.usefixtures("closed")
def test_a_pool_of_processes_in_a_view(tmp_path: Path) -> None:
    """Workers that a view starts see what the test wrote, and it sees what they write."""
    before = content(tmp_path)
    out = told(
        tmp_path,
        """
def work():
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        return max(pool.map(add_one, range(6)))

with temporary_databases(shop):
    add_one()
    rows = [work(), add_one()]
print(json.dumps([rows, left()]))
""",
    )
    assert out == [[7, 8], []]
    assert content(tmp_path) == before


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("used", [True, False])
def test_a_process_that_outlives_its_block_is_refused(tmp_path: Path, used: bool) -> None:
    """It finds that its files are gone, and does not take the real ones instead."""
    before = content(tmp_path)
    out = told(
        tmp_path,
        f"""
with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
    with temporary_databases(shop):
        pool.submit(add_one if {used} else int).result()
    said = [pool.submit(attempt).result()]
    with temporary_databases(shop):
        said.append(pool.submit(attempt).result())
print(json.dumps([said, left()]))
""",
    )
    said, left = out
    assert len(said) == 2
    assert all(each.startswith("DatabaseClosed") and each.endswith(GONE) for each in said), said
    assert left == []
    assert content(tmp_path) == before


@pytest.mark.usefixtures("closed")
def test_a_block_in_a_forked_process(tmp_path: Path) -> None:
    """A child may have a block of its own, inside of its parent's."""
    out = told(
        tmp_path,
        """
def own():
    with isolated(shop):
        return add_one()

with temporary_databases(shop):
    add_one()
    rows = [in_child(own), add_one()]
print(json.dumps([rows, left()]))
""",
    )
    assert out == [[2, 2], []]


@pytest.mark.usefixtures("closed")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no list of open files")
def test_a_child_inherits_no_connection_to_the_real_file(tmp_path: Path) -> None:
    """SQLite forbids it; and parent and child can go on with the real file after the block."""
    out = told(
        tmp_path,
        """
def real_files():
    links = [Path(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    return [str(each.resolve()) for each in links if each.resolve().parent == here]

add_one()
with temporary_databases(shop):
    in_parent, in_child = len(real_files()) > 0, in_child(real_files)
    if (pid := os.fork()) != 0:
        assert os.waitpid(pid, 0)[1] == 0
with ThreadPoolExecutor(1) as pool:
    pool.submit(add_one).result(20)
shutdown(shop)
if pid:
    print(json.dumps([in_parent, in_child, add_one()]))
""",
    )
    assert out == [True, [], 5]


@pytest.mark.usefixtures("closed")
def test_a_process_that_is_killed_leaves_only_temporary_files(tmp_path: Path) -> None:
    """The real ones are as they were, byte by byte."""
    before = content(tmp_path)
    done = run_script(
        tmp_path,
        START
        + """
with temporary_databases(shop, keep_data=True):
    add_one(), add(shop.tenants["acme"].database())
    db = shop.notes.database().connection().__enter__()
    db.execute("INSERT INTO note VALUES ('never committed')")
    os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    assert done.returncode == -signal.SIGKILL
    assert content(tmp_path) == before
    assert any((tmp_path / "memory").rglob("*notes.db"))
