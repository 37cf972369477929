"""What guards every test run: no connection stays open, and nothing is merely printed."""

import atexit
import gc
import os
import signal
import sqlite3
import sys
import threading
import types
import warnings
from typing import Any

import pytest

from common.fixtures import database, forget_functions, make_app, open_database, path, schema

__all__ = ["database", "forget_functions", "make_app", "open_database", "path", "schema"]

_opening = threading.local()
_opened: dict[int, str] = {}


def _note_who_opens(event: str, args: tuple[object, ...]) -> None:
    if event == "sqlite3.connect":
        _opening.path = args[0]
    elif event == "sqlite3.connect/handle":
        test = os.environ.get("PYTEST_CURRENT_TEST", "no test")
        _opened[id(args[0])] = f"{_opening.path!r}, opened in {test}"


sys.addaudithook(_note_who_opens)


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        sqlite3.Connection.in_transaction.__get__(connection)
    except sqlite3.ProgrammingError:
        return False
    return True


def _report_open_connections() -> bool:
    gc.collect()
    # Not isinstance(), which asks a weak proxy of what it stands for, and that may be gone.
    everything = gc.get_objects()
    connections = [item for item in everything if issubclass(type(item), sqlite3.Connection)]
    left = sorted(_opened.get(id(each), repr(each)) for each in connections if _is_open(each))
    if left:
        print(f"\nFAILED: {len(left)} SQLite connection(s) still open after the last test:")
        print(*left, sep="\n", flush=True)
    return bool(left)


@pytest.fixture(scope="session", autouse=True)
def _signals_as_usual() -> None:
    """Undo what ``nohup`` or a shell's ``&`` passes on: servers would inherit ignored signals."""
    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a connection is open that no test will close any more."""
    if _report_open_connections():
        atexit.unregister(_guard_the_exit)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@atexit.register
def _guard_the_exit() -> None:
    """Fail the run for what pytest is not there to see any more."""
    leave, print_it, stderr = os._exit, sys.unraisablehook, sys.stderr
    if _report_open_connections():
        leave(1)

    def fail(what: "sys.UnraisableHookArgs") -> None:
        print_it(what)
        stderr.flush()
        leave(1)

    sys.stdout.flush()
    warnings.simplefilter("error", ResourceWarning)
    # Without the names of this module, which would keep alive what they refer to.
    sys.unraisablehook = types.FunctionType(fail.__code__, {}, closure=fail.__closure__)
