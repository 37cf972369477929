"""The front page: a bit of every database."""

from datetime import UTC, datetime

from dependency_injector.wiring import Provide, inject
from flask import Blueprint, render_template

from notebook import words
from notebook.audit import AuditTrail
from notebook.container import Container
from notebook.notes import Notes
from sqlite_container import Connection, SQLiteDict

bp = Blueprint("today", __name__)


@bp.get("/")
@inject
def index(
    notes: Notes = Provide[Container.note_reader],
    reference: Connection = Provide[Container.reference.reader],
    trail: AuditTrail = Provide[Container.trail],
    tenants: SQLiteDict = Provide[Container.tenants.provider],
) -> str:
    return render_template(
        "today.html",
        notes=notes.newest(4),
        word=words.of_the_day(reference, datetime.now(UTC).date()),
        entries=trail.newest(5),
        tenants=tenants.names(),
    )
