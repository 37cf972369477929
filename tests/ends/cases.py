"""The table: which server, how it ends, what it does meanwhile, and what must be seen then."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ends.runner import Run, descriptors, processes_of, request, signal_group, wait_until

GUNICORN = "{python} -m gunicorn -b 127.0.0.1:{port} -w 3 --graceful-timeout 3 -p {folder}/pid"
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


STATES: dict[str, Callable[[Run], None]] = {
    "idle": idle,
    "busy": busy,
    "slow": slow,
    "streaming": streaming,
    "sleeping": sleeping,
    "stuck": stuck,
}

# -- ends ------------------------------------------------------------------------------------


def to_group(number: int) -> Callable[[Run], None]:
    """A signal to every process, as the terminal sends it."""
    return lambda run: signal_group(run.process, number)


def to_first(number: int) -> Callable[[Run], None]:
    """A signal to the process that was started, as ``kill`` and ``docker stop`` send it."""
    return lambda run: os.kill(run.process.pid, number)


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
    old = run.process.pid
    os.kill(old, signal.SIGUSR2)
    pid_file = run.folder / "pid"
    wait_until(lambda: (run.folder / "pid.2").exists(), 15, "a second master is there")
    time.sleep(1.5)
    os.kill(old, signal.SIGTERM)
    run.process.wait(20)
    wait_until(pid_file.exists, 10, "the second master is the first")
    wait_until(run.answers, 15, "the new master's workers answer")
    idle(run)
    new = int(pid_file.read_text())
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


@dataclass(frozen=True)
class Case:
    """One line of the table. What is not said is expected as for all: nothing left, no warning."""

    server: str
    end: str
    state: str = "idle"
    status: int | None = 0
    within: float = 5.0
    options: str = ""
    left: Sequence[str] = ()
    allowed: str = ""
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    slowly: bool = False

    @property
    def name(self) -> str:
        """What the test is called."""
        return " | ".join(filter(None, [self.server, self.options, self.end, self.state]))

    def command(self) -> list[str]:
        """What to run; braces stand for what is known only then."""
        return [*SERVERS[self.server].split(), *self.options.split()]


def over(
    servers: Sequence[str], ends: Sequence[tuple[str, int | None]], states: Sequence[str]
) -> list[Case]:
    """Every combination, one case each."""
    return [
        Case(server, end, state, status)
        for server in servers
        for end, status in ends
        for state in states
    ]


RELOADERS = ("flask --reload", "flask --debug", "app.run(debug=True)")
GUNICORNS = ("gunicorn sync", "gunicorn gthread", "gunicorn gevent")
ALL = ("idle", "busy", "slow")

CASES = [
    *over(["script"], [("INT", 130), ("TERM", 143), ("HUP", 129), ("finish", 0)], ALL),
    *over(["flask"], [("INT", 0), ("TERM", 143), ("HUP", 129)], ALL),
    *over(["waitress"], [("INT", 0), ("TERM", 143), ("HUP", 129)], ALL),
    *over(RELOADERS, [("INT", 0), ("touch", 0), ("touch 3 times", 0)], ALL),
    *over(RELOADERS, [("TERM", 0), ("TERM to all", 0), ("HUP to all", 129)], ALL),
    *over(GUNICORNS, [("INT", 0), ("TERM", 0), ("QUIT", 0), ("HUP reload", 0)], ALL),
    *over(GUNICORNS, [("USR2 upgrade", 0)], ("idle",)),
    *over(["granian"], [("INT", 0), ("TERM", 0)], ALL),
    *over(["uwsgi"], [("INT", 0), ("QUIT", 0)], ALL),
    *over(["script", "waitress", "gunicorn gthread"], [("KILL", None)], ("busy",)),
]


def find(name: str) -> Case:
    """A case by its name."""
    return next(case for case in CASES if case.name == name)
