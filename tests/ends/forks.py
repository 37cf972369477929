"""The ways in which a view may make a process, and what its child then tries."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from sqlite_container import SQLiteContainerError

_borrowed: Any = None


def attempt() -> str:
    """Use the inherited connection, which must fail, and let go of it; then use the database."""
    global _borrowed
    told = "no connection was inherited"
    if _borrowed is not None:
        try:
            _borrowed.execute("INSERT INTO entry VALUES (-1, 'by a child')")
            told = "used an inherited connection"
        except SQLiteContainerError as error:
            told = type(error).__name__
    _borrowed = None
    gc.collect()
    return told


def by_os_fork(_: object) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, attempt().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    return told if status == 0 else f"child ended with {status}"


def _process(method: str) -> Callable[[object], str]:
    def start(_: object) -> str:
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=attempt)
        process.start()
        process.join(15)
        return f"exit code {process.exitcode}"

    return start


def by_pool(_: object) -> str:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        return ", ".join(sorted({pool.submit(attempt).result(15) for _ in range(4)}))


def by_spawn_pool(_: object) -> str:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(attempt).result(15)


def by_subprocess(_: object) -> str:
    code = "import json, sys; json.dump(sys.argv[1:], sys.stdout)"
    command = [sys.executable, "-c", code, "a child"]
    done = subprocess.run(command, capture_output=True, check=True, preexec_fn=os.setsid)
    return str(json.loads(done.stdout)[0])


def _with_borrowed(kind: Callable[[object], str]) -> Callable[[object], str]:
    def start(connection: object) -> str:
        global _borrowed
        _borrowed = connection
        try:
            return kind(connection)
        finally:
            _borrowed = None

    return start


KINDS: dict[str, Callable[[object], str]] = {
    "os.fork": _with_borrowed(by_os_fork),
    "multiprocessing-fork": _with_borrowed(_process("fork")),
    "multiprocessing-spawn": _with_borrowed(_process("spawn")),
    "pool": _with_borrowed(by_pool),
    "spawn-pool": _with_borrowed(by_spawn_pool),
    "subprocess": _with_borrowed(by_subprocess),
}

GOOD = ("NotYourConnection", "no connection was inherited", "exit code 0", "a child")
"""What a child may tell of its attempt."""
