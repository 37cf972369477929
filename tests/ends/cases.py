"""The table: which server, how it ends, what it does meanwhile, and what must be seen then."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ends.forks import GOOD, KINDS
from ends.runner import (
    Result,
    Run,
    descriptors,
    processes_of,
    request,
    running,
    signal_group,
    wait_until,
)

GUNICORN = "{scripts}/gunicorn -b 127.0.0.1:{port} -w 3 --graceful-timeout 10 -p {folder}/pid"
UWSGI = "{scripts}/uwsgi --http-socket 127.0.0.1:{port} --wsgi-file ends/ends_app.py --callable app"
FLASK = "{python} -m flask --app ends.ends_app run --port {port}"

SERVERS = {
    "script": "{python} -m ends.ends_script {port}",
    "flask": FLASK,
    "flask --reload": f"{FLASK} --reload",
    "flask --debug": f"{FLASK} --debug",
    "app.run(debug=True)": "{python} -m ends.ends_app {port}",
    "waitress": "{python} -m waitress --listen=127.0.0.1:{port} ends.ends_app:app",
    "gunicorn sync": f"{GUNICORN} ends.ends_app:app",
    "gunicorn gthread": f"{GUNICORN} --threads 4 ends.ends_app:app",
    "gunicorn gevent": f"{GUNICORN} -k gevent ends.ends_app:app",
    "granian": "{python} -m granian --interface wsgi --host 127.0.0.1 --port {port}"
    " --workers 2 --blocking-threads 4 ends.ends_app:app",
    "uwsgi": f"{UWSGI} --master --processes 2 --threads 4",
}

# -- states ----------------------------------------------------------------------------------


def idle(run: Run) -> None:
    """Every database has been used, and nobody uses one now."""
    for name in run.load.names:
        run.load.write(name)


def busy(run: Run) -> None:
    """Clients read and write without a pause."""
    run.load.start()
    wait_until(lambda: run.load.count >= 12, 15, "rows are acknowledged")


def slow(run: Run) -> None:
    """A query runs for ever in a WAL database, and one in a rollback journal; others write."""
    for name in ("wal", "journal"):
        run.load.hold(f"/slow/{name}")
        run.wait_for_mark(f"slow-{name}")
    run.load.names = ("wal", "tenants.acme")
    run.load.start(1)
    time.sleep(0.2)


def streaming(run: Run) -> None:
    """Two bodies without end are being sent."""
    for name in ("wal", "journal"):
        run.load.hold(f"/stream/{name}")
        run.wait_for_mark(f"stream-{name}")


def sleeping(run: Run) -> None:
    """A view sleeps for a moment, in a transaction."""
    run.load.hold("/sleep/wal/1000")
    run.wait_for_mark("sleep-wal")


def stuck(run: Run) -> None:
    """A view sleeps in a transaction for longer than closing may take."""
    for name in ("wal", "journal"):
        run.load.hold(f"/sleep/{name}/40000")
        run.wait_for_mark(f"sleep-{name}")


def forking(run: Run) -> None:
    """Views fork in every way there is, in a transaction, while clients write."""
    run.load.names = ("tenants.acme",)
    run.load.start(1)
    for kind in KINDS:
        status, body = request(run.port, "GET", f"/fork/{kind}", 30.0)
        told = json.loads(body).get("child") if status == 200 else body[:200]
        if not set(str(told).split(", ")) <= set(GOOD):
            run.note(f"/fork/{kind}: {status} {told!r}")
    for _ in range(3):
        for name in ("wal", "journal"):
            run.load.write(name)


STATES: dict[str, Callable[[Run], None]] = {
    "idle": idle,
    "busy": busy,
    "slow": slow,
    "streaming": streaming,
    "sleeping": sleeping,
    "stuck": stuck,
    "forking": forking,
}

# -- ends ------------------------------------------------------------------------------------


def to_group(number: int) -> Callable[[Run], None]:
    """A signal to every process, as the terminal sends it."""
    return lambda run: signal_group(run.process, number)


def to_first(number: int) -> Callable[[Run], None]:
    """A signal to the process that was started, as ``kill`` and ``docker stop`` send it."""
    return lambda run: os.kill(run.process.pid, number)


def until_gone(number: int) -> Callable[[Run], None]:
    """A signal to every process, and again later: a worker of granian's may miss the first."""

    def send(run: Run) -> None:
        for _ in range(2):
            signal_group(run.process, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(3)
                return

    return send


def int_twice(run: Run) -> None:
    """Ctrl-C, and again while it closes."""
    signal_group(run.process, signal.SIGINT)
    time.sleep(0.1)
    signal_group(run.process, signal.SIGINT)


def finish(run: Run) -> None:
    """The main thread comes to its end by itself, while daemon threads run."""
    request(run.port, "GET", "/finish")


def touch(run: Run) -> None:
    """A file of the app changes; then Ctrl-C."""
    reload(run)
    run.ending()
    signal_group(run.process, signal.SIGINT)


def touch_thrice(run: Run) -> None:
    """A file of the app changes again and again; then Ctrl-C."""
    for _ in range(3):
        reload(run)
    run.ending()
    signal_group(run.process, signal.SIGINT)


def reload(run: Run) -> None:
    """Change a file, and wait for the next process that answers."""
    before = run.pid_that_answers()
    began = time.monotonic()
    (run.code / "ends" / "ends_app.py").touch()
    wait_until(lambda: run.pid_that_answers() not in (0, before), 20, "a new child answers")
    if time.monotonic() - began > 12:
        run.note(f"a reload took {time.monotonic() - began:.1f} s")
    check_descriptors(run, {run.pid_that_answers()})


def check_descriptors(run: Run, allowed: set[int]) -> None:
    """Nobody but these has a database open."""
    others = {pid: names for pid, names in descriptors(run.data).items() if pid not in allowed}
    if others:
        run.note(f"open where nothing may be: {others}")


def hup(run: Run) -> None:
    """New workers in place of the old ones; then SIGTERM."""
    renew(run, lambda: os.kill(run.process.pid, signal.SIGHUP))
    run.ending()
    os.kill(run.process.pid, signal.SIGTERM)


def renew(run: Run, do: Callable[[], object]) -> None:
    """Do what makes the server start new workers, and wait until no old one is left."""
    first = run.process.pid
    before = set(processes_of(run.data)) - {first}
    do()

    def renewed() -> bool:
        return not before & set(processes_of(run.data)) and run.answers()

    wait_until(renewed, 20, "all workers are new")
    check_descriptors(run, set(processes_of(run.data)) - {first})


def usr2(run: Run) -> None:
    """A new master takes over from the old one; then SIGTERM for it as well."""
    old, pid_file = run.process.pid, run.folder / "pid.2"
    os.kill(old, signal.SIGUSR2)
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), 15, "a second master is there")
    new = int(pid_file.read_text())
    wait_until(lambda: run.output().count("Booting worker") >= 6, 15, "it has its workers")
    time.sleep(0.5)
    os.kill(old, signal.SIGTERM)
    run.process.wait(20)
    wait_until(run.answers, 15, "the new master's workers answer")
    idle(run)
    run.ending()
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: new not in processes_of(run.data), 15, "the second master is gone")


def recycled(run: Run) -> None:
    """Clients go on until every worker has been replaced; then SIGTERM."""
    before = set(processes_of(run.data)) - {run.process.pid}
    run.load.start()
    wait_until(lambda: not before & set(processes_of(run.data)), 30, "all workers are new")
    run.load.stop()
    run.ending()
    os.kill(run.process.pid, signal.SIGTERM)


def timed_out(run: Run) -> None:
    """The server kills a worker that does not come to an end; then SIGTERM."""
    wait_until(lambda: "WORKER TIMEOUT" in run.output(), 15, "a worker is killed")
    time.sleep(1)
    wait_until(run.answers, 15, "the next worker answers")
    run.ending()
    os.kill(run.process.pid, signal.SIGTERM)


def killed(run: Run) -> None:
    """SIGKILL to all; the next start recovers, with everything that was acknowledged."""
    signal_group(run.process, signal.SIGKILL)
    run.process.wait(10)
    status = 128 - run.process.returncode
    run.load.stop()
    run.start()
    idle(run)
    run.ending()
    os.kill(run.process.pid, signal.SIGTERM)
    run.wait(10)
    if status != 128 + signal.SIGKILL:
        run.note(f"killed, but with status {status}")


ENDS: dict[str, Callable[[Run], None]] = {
    "INT": to_group(signal.SIGINT),
    "INT to one": to_first(signal.SIGINT),
    "INT twice": int_twice,
    "TERM": to_first(signal.SIGTERM),
    "TERM to all": to_group(signal.SIGTERM),
    "HUP": to_first(signal.SIGHUP),
    "HUP to all": to_group(signal.SIGHUP),
    "QUIT": to_first(signal.SIGQUIT),
    "INT until gone": until_gone(signal.SIGINT),
    "TERM until gone": until_gone(signal.SIGTERM),
    "finish": finish,
    "touch": touch,
    "touch 3 times": touch_thrice,
    "HUP reload": hup,
    "USR2 upgrade": usr2,
    "recycle": recycled,
    "time-out": timed_out,
    "KILL": killed,
}

# -- the table -------------------------------------------------------------------------------


LIMIT = (("ENDS_STATEMENT_TIMEOUT", "1.5"),)
"""The one line for servers that wait for their requests, or kill them: ``statement_timeout``."""
GIVE_UP = (("ENDS_SHUTDOWN_TIMEOUT", "1"),)
GRACEFUL = "--hook-master-start 'unix_signal:15 gracefully_kill_them_all'"
"""The one line for uWSGI, which otherwise kills busy workers where it should end them."""
WAL = ("acme.db-shm", "acme.db-wal", "journal.db-journal", "wal.db-shm", "wal.db-wal")
"""What a killed process may leave; the next start recovers from it."""


@dataclass(frozen=True)
class Case:
    """One line of the table. Whatever it does not say must be as for all: nothing is left."""

    server: str
    end: str
    state: str
    status: int
    options: str = ""
    within: float = 6.0
    may_leave: tuple[str, ...] = ()
    allowed: str = ""
    may_answer: tuple[int, ...] = (0, 200, 503)
    settings: tuple[tuple[str, str], ...] = ()
    tries: int = 1

    @property
    def name(self) -> str:
        """What the test is called."""
        settings = ", ".join(name for name, _ in self.settings).removeprefix("ENDS_").lower()
        parts = (self.server, self.options, settings, self.end, self.state)
        return " | ".join(filter(None, parts))

    @property
    def workers(self) -> tuple[str, int] | None:
        """What the server prints for each worker that it starts, and how many there are."""
        if self.server.startswith("gunicorn"):
            return "Booting worker", 3
        if "--lazy-apps" in self.options:
            return "WSGI app 0", 2
        return None

    def _is_ready(self, output: str) -> bool:
        return self.workers is None or output.count(self.workers[0]) >= self.workers[1]

    def command(self) -> list[str]:
        """What to run; braces stand for what is known only then."""
        return [*shlex.split(SERVERS[self.server]), *shlex.split(self.options)]

    def run(self, folder: Path) -> list[str]:
        """Run it, again if it may fail for reasons of the server's own; tell what was wrong."""
        problems: list[str] = []
        for number in range(self.tries):
            problems = self._run_once(folder / str(number))
            if not problems:
                break
        return problems

    def _run_once(self, folder: Path) -> list[str]:
        with running(folder, self.command(), dict(self.settings)) as run:
            wait_until(lambda: self._is_ready(run.output()), 15, "every worker is there")
            time.sleep(0.5 if self.workers else 0.0)  # a worker that starts misses its signal
            STATES[self.state](run)
            run.ending()
            ENDS[self.end](run)
            run.wait(self.within + 2)
            return self.problems(run.look())

    def problems(self, result: Result) -> list[str]:
        """Everything that was seen and must not be, in words."""
        found = list(result.during)
        found += [f"it printed: {line}" for line in self._forbidden(result.warnings)]
        found += [f"{name} is left" for name in result.left if name not in self.may_leave]
        found += [f"process {pid} has {names} open" for pid, names in result.descriptors.items()]
        found += [f"process {pid} goes on" for pid in result.orphans]
        found += [f"lost: {row}" for row in result.lost]
        found += [f"damaged: {what}" for what in result.integrity]
        if result.status != self.status:
            found.append(f"exit status {result.status}, not {self.status}")
        if result.seconds > self.within:
            found.append(f"it took {result.seconds:.1f} s")
        wrong = set(result.answers) - set(self.may_answer)
        found += [body for body in result.bodies if int(body.split()[0]) in wrong]
        return [*found, result.output[-4000:]] if found else []

    def _forbidden(self, lines: list[str]) -> list[str]:
        return [line for line in lines if not (self.allowed and re.search(self.allowed, line))]


CUT_SHORT = r"StatementTimeout|OperationalError: interrupted"
"""The time-out, and its cause."""
LEAK = r"LeakWarning|did not come back within"


def held(server: str, end: str, status: int, **more: Any) -> Case:
    """A slow query that only ``statement_timeout`` ends in time for this server."""
    answers = (0, 200, 500, 503)
    return Case(
        server, end, "slow", status, settings=LIMIT, may_answer=answers, allowed=CUT_SHORT, **more
    )


def quick(server: str, end: str, tries: int = 1) -> Case:
    """An end that raises ``SystemExit`` wherever a request stands."""
    answers, allowed = (0, 200, 500, 503), "UncommittedWarning"
    return Case(server, end, "busy", 0, may_answer=answers, allowed=allowed, tries=tries)


CASES = [
    Case("script", "INT", "idle", 130),
    Case("script", "INT", "slow", 130),
    Case("script", "INT twice", "slow", 130),
    Case("script", "TERM", "busy", 143),
    Case("script", "TERM", "slow", 143),
    Case("script", "TERM", "sleeping", 143),
    Case("script", "TERM", "stuck", 143, settings=GIVE_UP, may_leave=WAL, allowed=LEAK),
    Case("script", "HUP", "busy", 129),
    Case("script", "finish", "busy", 0),
    Case("script", "finish", "slow", 0),
    Case("script", "KILL", "busy", 143),
    Case("flask", "INT", "idle", 0),
    Case("flask", "INT", "busy", 0),
    Case("flask", "INT", "slow", 0),
    Case("flask", "INT", "streaming", 0),
    Case("flask", "INT", "sleeping", 0),
    Case("flask", "INT", "stuck", 0, settings=GIVE_UP, may_leave=WAL, allowed=LEAK),
    Case("flask", "INT twice", "slow", 0),
    Case("flask", "TERM", "busy", 143),
    Case("flask", "TERM", "slow", 143),
    Case("flask", "HUP", "slow", 129),
    Case("flask", "TERM", "forking", 143),
    Case("flask --reload", "INT", "busy", 0),
    Case("flask --reload", "INT", "slow", 0, tries=2),
    Case("flask --reload", "touch", "idle", 0),
    Case("flask --reload", "touch", "busy", 0),
    Case("flask --reload", "touch 3 times", "slow", 0),
    Case("flask --reload", "TERM", "busy", 0),
    Case("flask --reload", "HUP to all", "busy", 129),
    Case("flask --debug", "touch", "slow", 0),
    Case("flask --debug", "TERM to all", "slow", 0),
    Case("app.run(debug=True)", "INT", "idle", 0),
    Case("app.run(debug=True)", "touch", "slow", 0),
    Case("waitress", "INT", "idle", 0),
    Case("waitress", "TERM", "busy", 0),
    Case("waitress", "TERM", "slow", 0, within=8),
    Case("waitress", "HUP", "busy", 0),
    Case("waitress", "TERM", "forking", 0),
    Case("waitress", "KILL", "busy", 0),
    Case("gunicorn sync", "TERM", "idle", 0),
    Case("gunicorn sync", "TERM", "busy", 0),
    quick("gunicorn sync", "INT"),
    held("gunicorn sync", "TERM", 0),
    Case("gunicorn sync", "TERM", "busy", 0, "--preload"),
    Case("gunicorn sync", "HUP reload", "busy", 0),
    Case("gunicorn sync", "USR2 upgrade", "idle", 0),
    Case("gunicorn sync", "recycle", "idle", 0, "--max-requests 30 --max-requests-jitter 10"),
    Case("gunicorn sync", "time-out", "slow", 0, "--timeout 2", may_leave=WAL),
    Case("gunicorn sync", "TERM", "forking", 0),
    Case("gunicorn gthread", "TERM", "busy", 0),
    # Its signal handler shuts down the pool of threads, and waits for ever where the signal came
    # amid tpool.submit(), which holds the same lock: 2 of 45 times with an app of three lines.
    quick("gunicorn gthread", "QUIT", tries=3),
    held("gunicorn gthread", "TERM", 0),
    Case("gunicorn gthread", "TERM", "busy", 0, "--preload"),
    Case("gunicorn gthread", "HUP reload", "busy", 0),
    Case("gunicorn gthread", "KILL", "busy", 0),
    Case("gunicorn gevent", "TERM", "busy", 0, within=9),  # its workers look once a second
    Case("gunicorn gevent", "INT", "idle", 0, tries=2),  # told twice, it may skip its atexit
    held("gunicorn gevent", "TERM", 0),
    Case("gunicorn gevent", "TERM", "busy", 0, "--preload", within=9),
    Case("granian", "TERM until gone", "idle", 0, tries=3),
    Case("granian", "TERM until gone", "busy", 0, tries=3),
    Case("granian", "INT until gone", "busy", 0, tries=3),
    held("granian", "TERM until gone", 0, tries=3),
    Case("uwsgi", "INT", "idle", 0, may_leave=WAL),
    Case("uwsgi", "TERM", "idle", 0, GRACEFUL),
    Case("uwsgi", "TERM", "busy", 0, GRACEFUL),
    held("uwsgi", "TERM", 0, options=GRACEFUL),
    Case("uwsgi", "TERM", "busy", 0, f"{GRACEFUL} --lazy-apps"),
    held("uwsgi", "TERM", 0, options=f"{GRACEFUL} --lazy-apps"),
]
