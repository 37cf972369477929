"""A signal that comes while a statement runs is never swallowed, whatever the library watches.

Python runs signal handlers inside of SQLite's callbacks, too, and sqlite3 drops what a callback
raises. So a time limit for statements, of all things, could make a process impossible to stop.
"""

import re
import signal
import subprocess
import urllib.request
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest

from common.databases import in_thread
from faults import signal_programs
from faults.helpers import Ended, end_of, passes, start, start_python
from faults.signal_programs import WORKS, Work, read_for_long, set_pragma

SOON = 20.0
"""Seconds within which a process has to end that was told to."""


def told_to_end(
    process: "subprocess.Popen[str]", number: signal.Signals, sign: str = "ready"
) -> Ended:
    """Send a signal to a process when it has printed a sign; return how it ends."""
    assert process.stdout is not None
    printed = [process.stdout.readline()]
    while sign not in printed[-1]:
        assert printed[-1], f"it ended too early: {printed}"
        printed.append(process.stdout.readline())
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(number)
    return end_of(process, SOON)


@pytest.mark.parametrize("work", [read_for_long, set_pragma], ids=lambda work: work.__name__)
def test_sigterm_ends_a_program_that_tries_again(tmp_path: Path, work: Work) -> None:
    """The exit status is that of SIGTERM, although every error of SQLite's is caught."""
    process = start(signal_programs.work_until_the_end, tmp_path, work.__name__)
    assert told_to_end(process, signal.SIGTERM).status == 128 + signal.SIGTERM


@pytest.mark.parametrize("work", [read_for_long, set_pragma], ids=lambda work: work.__name__)
def test_ctrl_c_ends_a_program_that_tries_again(tmp_path: Path, work: Work) -> None:
    """It ends with a KeyboardInterrupt."""
    process = start(signal_programs.work_until_the_end, tmp_path, work.__name__)
    ended = told_to_end(process, signal.SIGINT)
    assert "KeyboardInterrupt" in ended.output
    assert ended.status == -signal.SIGINT


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_no_exception_of_a_signal_handler_vanishes(tmp_path: Path, work: Work) -> None:
    """Of hundreds that come amid statements of each kind, every one is seen."""
    passes(signal_programs.count_what_is_swallowed, tmp_path, work.__name__)


@pytest.mark.servers
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_flask_run_without_threads_ends(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The development server ends in the middle of a request whose view tries again."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    arguments = "-m flask --app faults.signal_programs run --without-threads --port 0".split()
    process = start_python(*arguments, folder=tmp_path)
    request = ask_when_it_runs(process)
    ended = told_to_end(process, number, "inside")
    request.exception(SOON)
    expected = {signal.SIGTERM: {143}, signal.SIGINT: {0, 1, 130, -signal.SIGINT}}
    assert ended.status in expected[number], ended


def ask_when_it_runs(process: "subprocess.Popen[str]") -> "Future[object]":
    """Send a request in another thread, as soon as the server tells its address."""
    assert process.stdout is not None
    lines = []
    while True:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
        if address := re.search(r"http://[\d.]+:\d+", lines[-1]):
            return in_thread(lambda: urllib.request.urlopen(address[0], timeout=SOON).read())
