"""Programs with workers of each kind, all of which write. Arguments: folder, kind, method."""

import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from dependency_injector import containers

from sqlite_container import SQLite, shutdown_at_exit


class Container(containers.DeclarativeContainer):
    """One database."""

    notes = SQLite(f"{sys.argv[1]}/notes.db")


container = Container()
shutdown_at_exit(container)


def write(number: int) -> None:
    """Write one row."""
    with container.notes.database().transaction() as db:
        db.execute("CREATE TABLE IF NOT EXISTS note (number)")
        db.execute("INSERT INTO note VALUES (?)", (number,))


def write_for_ever(number: int) -> None:
    """Write until it is ended from outside."""
    while True:
        write(number)


def pool(context: Any) -> None:
    """A pool that is left in order."""
    with context.Pool(2) as workers:
        workers.map(write, range(20))
        workers.close()
        workers.join()


def terminated_pool(context: Any) -> None:
    """A pool that is terminated while one of its processes writes."""
    workers = context.Pool(2)
    workers.map(write, range(20))
    workers.apply_async(write_for_ever, (1,))
    time.sleep(0.3)
    workers.terminate()
    workers.join()


def process(context: Any) -> None:
    """A process that comes to its end, and one that is terminated."""
    first = context.Process(target=write, args=(1,))
    first.start()
    first.join()
    second = context.Process(target=write_for_ever, args=(2,))
    second.start()
    while count() < 2:
        time.sleep(0.01)
    second.terminate()
    second.join()


def process_executor(context: Any) -> None:
    """Processes of ``concurrent.futures``."""
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        list(workers.map(write, range(20)))


def thread_executor(_: Any) -> None:
    """Threads of ``concurrent.futures``."""
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(write, range(20)))


def scheduler(_: Any) -> None:
    """Jobs of APScheduler, which are not shut down."""
    from apscheduler.schedulers.background import BackgroundScheduler

    jobs = BackgroundScheduler()
    jobs.add_job(write, "interval", (1,), seconds=0.05, max_instances=3)
    jobs.start()
    while count() < 2:
        time.sleep(0.01)


def count() -> int:
    """How many rows there are."""
    with container.notes.database().transaction() as db:
        db.execute("CREATE TABLE IF NOT EXISTS note (number)")
        return int(db.execute("SELECT count(*) FROM note").fetchone()[0])


KINDS: dict[str, Callable[[Any], None]] = {
    each.__name__: each
    for each in (pool, terminated_pool, process, process_executor, thread_executor, scheduler)
}

if __name__ == "__main__":
    KINDS[sys.argv[2]](multiprocessing.get_context(sys.argv[3]))
    print(count())
