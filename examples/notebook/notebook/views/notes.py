"""The common notebook: list, search, write, show, edit, delete, export."""

import csv
from collections.abc import Iterator
from io import StringIO

from dependency_injector.wiring import Provide, inject
from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from notebook.audit import AuditTrail
from notebook.container import Container
from notebook.forms import NoteForm, signature
from notebook.notes import Notes

bp = Blueprint("notes", __name__, url_prefix="/notes")
PER_PAGE = 12


@bp.get("/")
@inject
def index(notes: Notes = Provide[Container.note_reader]) -> str:
    text = request.args.get("q", "").strip()
    if text:
        return render_template("notes/found.html", notes=notes.search(text), text=text)
    page = max(1, request.args.get("page", 1, type=int))
    rows = notes.newest(PER_PAGE + 1, (page - 1) * PER_PAGE)
    return render_template(
        "notes/index.html",
        notes=rows[:PER_PAGE],
        total=notes.count(),
        page=page,
        more=len(rows) > PER_PAGE,
    )


class Write(MethodView):
    def get(self) -> str:
        return render_template("notes/form.html", form=NoteForm.blank())

    @inject
    def post(
        self,
        notes: Notes = Provide[Container.note_writer],
        trail: AuditTrail = Provide[Container.trail],
    ) -> ResponseReturnValue:
        form = NoteForm.sent()
        if form.errors:
            return render_template("notes/form.html", form=form), 422
        # Two databases are two transactions. The note goes first: should the second one
        # fail, a note is missing from the trail, but the trail never tells of what was not.
        note_id = notes.add(form.title, form.body, signature())
        trail.record(signature(), "wrote", note_id, form.title)
        flash("The note is written.")
        return redirect(url_for(".show", note_id=note_id))


@bp.get("/<int:note_id>")
@inject
def show(note_id: int, notes: Notes = Provide[Container.note_reader]) -> str:
    return render_template("notes/show.html", note=notes.get(note_id) or abort(404))


class Edit(MethodView):
    @inject
    def get(self, note_id: int, notes: Notes = Provide[Container.note_reader]) -> str:
        note = notes.get(note_id) or abort(404)
        form = NoteForm(note["title"], note["body"], NoteForm.blank().author)
        return render_template("notes/form.html", form=form, note=note)

    @inject
    def post(
        self,
        note_id: int,
        notes: Notes = Provide[Container.note_writer],
        trail: AuditTrail = Provide[Container.trail],
    ) -> ResponseReturnValue:
        note = notes.get(note_id) or abort(404)
        form = NoteForm.sent()
        if form.errors:
            return render_template("notes/form.html", form=form, note=note), 422
        notes.edit(note_id, form.title, form.body) or abort(404)
        trail.record(signature(), "edited", note_id, form.title)
        flash("The note is changed.")
        return redirect(url_for(".show", note_id=note_id))


@bp.post("/<int:note_id>/delete")
@inject
def delete(
    note_id: int,
    notes: Notes = Provide[Container.note_writer],
    trail: AuditTrail = Provide[Container.trail],
) -> ResponseReturnValue:
    note = notes.get(note_id) or abort(404)
    notes.delete(note_id) or abort(404)
    trail.record(signature(), "deleted", note_id, note["title"])
    flash(f"“{note['title']}” is deleted.")
    return redirect(url_for(".index"))


@bp.get("/export.csv")
@inject
def export(notes: Notes = Provide[Container.note_reader]) -> Response:
    """All notes, sent while they are read: the connection stays until the last line is out."""
    return Response(
        stream_with_context(csv_lines(notes)),
        mimetype="text/csv",
        headers={"Content-Disposition": "attachment; filename=notes.csv"},
    )


def csv_lines(notes: Notes) -> Iterator[str]:
    line = StringIO()
    writer = csv.writer(line)
    writer.writerow(("id", "title", "body", "author", "created", "edited"))
    everything = notes.everything()
    yield line.getvalue()
    for note in everything:
        line.seek(0)
        line.truncate()
        writer.writerow(note)
        yield line.getvalue()


bp.add_url_rule("/new", view_func=Write.as_view("write"))
bp.add_url_rule("/<int:note_id>/edit", view_func=Edit.as_view("edit"))
