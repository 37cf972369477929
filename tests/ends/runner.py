"""Start a real server, bring it into a state, end it, and look at it from outside."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
FILES = {"wal": "wal.db", "journal": "journal.db", "tenants.acme": "acme.db"}
WARNINGS = re.compile(
    r"unclosed database|Segmentation|Fatal Python error|LeakWarning|UncommittedWarning"
    r"|not everything could be shut down|could not be closed|never awaited"
)
TRACEBACK = re.compile(
    r"^ *(?:Exception ignored .*\n *)?Traceback \(most recent call last\):\n(?:^ .*\n|^\n)*^.*$",
    re.MULTILINE,
)
"""A traceback with its last line, which has the error."""
ORDERLY = r"SystemExit|KeyboardInterrupt|sqlite_container\.errors\.StatementInterrupted"
START = 30.0
"""Seconds that a server may take to answer, on a machine that does other things as well."""
_numbers = itertools.count(1)


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal every process of the group, as a terminal does for Ctrl-C."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds; raise what the test did not see."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(port: int, method: str, path: str, timeout: float = 20.0) -> tuple[int, bytes]:
    """Status and body of one answer; :class:`OSError` if none came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def complaints(output: str) -> list[str]:
    """What a server printed about its databases, or about the app; its own affairs left out.

    Servers leave sockets to the garbage collector, and say so in development mode; some raise
    ``SystemExit`` in the middle of a request when they are told to be quick. A streamed body
    that is cut ends with an error, which the server prints.
    """
    found = [line for line in output.splitlines() if WARNINGS.search(line)]
    for block in TRACEBACK.findall(output):
        error = block.splitlines()[-1]
        if "sqlite" in block and not re.match(ORDERLY, error):
            found.append(error)
    return found


# -- processes, as /proc tells ---------------------------------------------------------------


def processes_of(folder: Path) -> list[int]:
    """Every process that has this folder in its environment, zombies left out."""
    mark = f"ENDS_FOLDER={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return sorted(found)


def descriptors(folder: Path, pids: Sequence[int] | None = None) -> dict[int, list[str]]:
    """Which files of the folder's databases which process has open."""
    entries = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    found: dict[int, list[str]] = {}
    for pid in entries if pids is None else pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = Path(link.readlink())
                    if target.parent == folder and ".db" in target.name:
                        found.setdefault(pid, []).append(target.name)
    return {pid: sorted(names) for pid, names in found.items()}


def content(file: Path) -> tuple[set[int], str]:
    """The rows of a database, and what SQLite says of its integrity: ``ok``, or what is wrong."""
    if not file.exists():
        return set(), "ok"
    with contextlib.closing(sqlite3.connect(file)) as db:
        try:
            rows = {row for (row,) in db.execute("SELECT id FROM entry")}
            return rows, "\n".join(row for (row,) in db.execute("PRAGMA integrity_check"))
        except sqlite3.Error as error:
            return set(), str(error)


# -- clients ---------------------------------------------------------------------------------


@dataclass
class Load:
    """Clients that read and write, and remember every row whose commit was acknowledged."""

    port: int
    names: Sequence[str] = tuple(FILES)
    acknowledged: dict[str, set[int]] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    bodies: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: int = 2) -> None:
        """Write, and now and then read, until :meth:`stop`."""
        for _ in range(clients):
            self._begin(self._work)

    def hold(self, path: str) -> None:
        """One request that goes on until the server ends."""
        self._begin(lambda: self._ask("GET", path))

    def write(self, name: str) -> None:
        """Write one row, and remember it if the answer says that it is committed."""
        row = next(_numbers)
        if self._ask("POST", f"/write/{name}/{row}") == 200:
            self.acknowledged.setdefault(name, set()).add(row)

    def stop(self) -> None:
        """Let every client finish."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def renew(self) -> None:
        """Be ready to :meth:`start` again, with what was acknowledged so far."""
        self._stop.clear()
        self._threads.clear()

    @property
    def count(self) -> int:
        """How many rows were acknowledged so far."""
        return sum(map(len, self.acknowledged.values()))

    def _begin(self, target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        for turn in itertools.count():
            for name in self.names:
                if self._stop.is_set():
                    return
                self.write(name)
            if turn % 3 == 0:
                self._ask("GET", "/ping")

    def _ask(self, method: str, path: str) -> int:
        try:
            status, body = request(self.port, method, path)
        except OSError:
            status, body = 0, b""
            self._stop.wait(0.05)
        self.answers[status] += 1
        if status not in (0, 200):
            self.bodies.append(f"{status} {path}: {body[:200]!r}")
            self._stop.wait(0.02)
        return status


# -- one server ------------------------------------------------------------------------------


@dataclass
class Result:
    """What was seen from outside."""

    status: int = -1
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    descriptors: dict[int, list[str]] = field(default_factory=dict)
    orphans: list[int] = field(default_factory=list)
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    integrity: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    bodies: list[str] = field(default_factory=list)
    output: str = ""
    during: list[str] = field(default_factory=list)


class Run:
    """One server from its start to its end, in a folder of its own."""

    def __init__(
        self, folder: Path, command: Sequence[str], environment: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.code = folder / "code"
        self.log = folder / "output.txt"
        self.port = free_port()
        self.load = Load(self.port)
        self.result = Result()
        self.ended_at = 0.0
        self._given = command
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._lay_out()

    def _lay_out(self) -> None:
        """The app is a copy, so that a test may touch its files."""
        self.data.mkdir(parents=True)
        shutil.copytree(HERE, self.code / "ends", ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started first."""
        assert self._process is not None
        return self._process

    @property
    def environment(self) -> dict[str, str]:
        """What the server finds: Python's development mode, and every warning."""
        inherited = [path for path in sys.path if path and Path(path, "sqlite_container").is_dir()]
        return {
            **os.environ,
            "ENDS_FOLDER": str(self.data),
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(self.code), *inherited]),
            "PYTHONDEVMODE": "1",
            "PYTHONWARNINGS": "always::ResourceWarning,always::RuntimeWarning",
            "PYTHONUNBUFFERED": "1",
            **self._environment,
        }

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [each.format(**self._names()) for each in self._given]
        self._spawn(command)
        wait_until(self._answers_or_gone, START, f"{' '.join(command)} answers")
        if self.process.poll() is not None:
            raise AssertionError(f"{' '.join(command)} ended at once:\n{self.output()}")

    def _spawn(self, command: Sequence[str]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.code,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run_to_end(self, seconds: float) -> None:
        """Run a program that ends by itself, and read which rows it has noted as committed."""
        command = [each.format(**self._names()) for each in self._given]
        self.ending()
        self._spawn(command)
        self.wait(seconds)
        for noted in self.data.glob("acknowledged-*"):
            for line in noted.read_text().splitlines():
                name, row = line.split()
                self.load.acknowledged.setdefault(name, set()).add(int(row))

    def _names(self) -> dict[str, str]:
        return {
            "python": sys.executable,
            "scripts": str(Path(sys.executable).parent),
            "port": str(self.port),
            "folder": str(self.folder),
        }

    def _answers_or_gone(self) -> bool:
        return self.process.poll() is not None or self.answers()

    def answers(self) -> bool:
        """Whether somebody answers, with all three databases open."""
        with contextlib.suppress(OSError):
            return request(self.port, "GET", "/ping", 5.0)[0] == 200
        return False

    def pid_that_answers(self) -> int:
        """The process that serves at this moment, or 0."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int(json.loads(request(self.port, "GET", "/ping", 5.0)[1])["pid"])
        return 0

    def wait_for_mark(self, what: str, count: int = 1) -> None:
        """Wait until the app has reached a point in so many processes."""
        pattern = f"mark-{what}-*"
        wait_until(lambda: len(list(self.data.glob(pattern))) >= count, 15, what)

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def note(self, problem: str) -> None:
        """Something seen before the end that must not be."""
        self.result.during.append(problem)

    # -- the end ----------------------------------------------------------------------------

    def ending(self) -> None:
        """The end begins now."""
        self.ended_at = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait until the first process and all that it started are gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(seconds)
            self.result.status = 128 - code if code < 0 else code
        deadline = time.monotonic() + 2
        while processes_of(self.data) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.result.seconds = time.monotonic() - self.ended_at

    def look(self) -> Result:
        """Everything that can be seen from outside when it is over."""
        result = self.result
        self.load.stop()
        result.orphans = processes_of(self.data)
        result.descriptors = descriptors(self.data)
        self._kill()
        result.output = self.output()
        result.warnings = complaints(result.output)
        result.left = sorted(each.name for each in self.data.glob("*.db-*"))
        result.answers, result.bodies = self.load.answers, self.load.bodies
        result.acknowledged = self.load.count
        for name, file in FILES.items():
            self._look_into(name, self.data / file)
        return result

    def _look_into(self, name: str, file: Path) -> None:
        rows, answer = content(file)
        missing = sorted(self.load.acknowledged.get(name, set()) - rows)
        self.result.lost += [f"{name}: row {row}" for row in missing]
        if answer != "ok":
            self.result.integrity.append(f"{name}: {answer}")
        if -1 in rows:
            self.result.integrity.append(f"{name}: a row is there that was never committed")

    def _kill(self) -> None:
        if self._process is not None:
            for pid in processes_of(self.data):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(10)

    def close(self) -> None:
        """Leave nothing running, whatever the test has come to."""
        self._kill()
        self.load.stop()


@contextlib.contextmanager
def running(
    folder: Path, command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[Run]:
    """A server that answers, and that is gone after the block."""
    run = Run(folder, command, environment)
    try:
        run.start()
        yield run
    finally:
        run.close()
