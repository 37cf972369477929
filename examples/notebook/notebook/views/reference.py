"""Words and their meanings, from a database that the app can only read."""

from datetime import UTC, datetime
from typing import Annotated

from dependency_injector.wiring import Provide, inject
from flask import Blueprint, render_template, request

from notebook import words
from notebook.container import Container
from sqlite_container import Connection

bp = Blueprint("reference", __name__, url_prefix="/words")


@bp.get("/")
@inject
def index(db: Annotated[Connection, Provide[Container.reference.reader]]) -> str:
    text = request.args.get("q", "").strip()
    return render_template(
        "words.html",
        text=text,
        found=words.look_up(db, text),
        word=None if text else words.of_the_day(db, datetime.now(UTC).date()),
    )
