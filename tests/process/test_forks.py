"""Forks beside threads that make databases. The forks of servers are in the tests of ends."""

import subprocess
import sys
import textwrap

FORKS = 30

PROGRAM = textwrap.dedent(
    f"""
    import os, sys, threading, warnings
    from sqlite_container import Database

    def make():
        while not stop.is_set():
            [Database("passing") for _ in range(50)]

    warnings.simplefilter("ignore")  # of forks beside threads
    stop, failed = threading.Event(), []
    sys.unraisablehook = failed.append
    kept = [Database(str(number)) for number in range(1000)]
    thread = threading.Thread(target=make)
    thread.start()
    for _ in range({FORKS}):
        child = os.fork()
        if not child:
            os._exit(len(failed))
        if os.waitpid(child, 0)[1]:
            failed.append(child)
    stop.set()
    thread.join()
    sys.exit(len(failed))
    """
)


def test_forking_while_another_thread_makes_databases() -> None:
    """No fork fails, or waits for ever, because a database appears in the middle of it."""
    command = [sys.executable, "-c", PROGRAM]
    assert subprocess.run(command, check=False, timeout=50).returncode == 0
