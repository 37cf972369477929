"""Tasks of a Celery worker: the app of ``docs/workers.md``."""

import os
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_shutdown
from dependency_injector import containers

from sqlite_container import SQLite, shutdown, shutdown_at_exit

FOLDER = Path(os.environ["FOLDER"])


class Container(containers.DeclarativeContainer):
    """One database."""

    notes = SQLite(FOLDER / "data" / "notes.db")


container = Container()
shutdown_at_exit(container)
queue = str(FOLDER / "queue")
app = Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER / 'results'}")
app.conf.broker_transport_options = {
    "data_folder_in": queue,
    "data_folder_out": queue,
    "control_folder": str(FOLDER / "control"),
}


@worker_process_shutdown.connect
def close_databases(**_: object) -> None:
    """Close what Celery's processes would leave open."""
    shutdown(container)


@app.task
def write(number: int) -> int:
    """Write one row."""
    with container.notes.database().transaction() as db:
        db.execute("CREATE TABLE IF NOT EXISTS note (number)")
        db.execute("INSERT INTO note VALUES (?)", (number,))
    return number
