"""A notebook of its own for each tenant; the configuration says which there are."""

from dependency_injector.wiring import Provide, inject
from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from notebook import errors
from notebook.audit import AuditTrail
from notebook.container import Container
from notebook.forms import NoteForm, signature
from notebook.notes import Notes
from sqlite_container import SQLiteDict, UnknownDatabase

bp = Blueprint("tenants", __name__, url_prefix="/tenants")


@bp.get("/")
@inject
def index(tenants: SQLiteDict = Provide[Container.tenants.provider]) -> str:
    return render_template("tenants/index.html", names=tenants.names())


@bp.get("/<name>/")
@inject
def show(name: str, tenants: SQLiteDict = Provide[Container.tenants.provider]) -> str:
    notes = Notes(tenants[name].reader())
    return page(name, notes, NoteForm.blank())


@bp.post("/<name>/")
@inject
def write(
    name: str,
    tenants: SQLiteDict = Provide[Container.tenants.provider],
    trail: AuditTrail = Provide[Container.trail],
) -> ResponseReturnValue:
    notes = Notes(tenants[name].connection())
    form = NoteForm.sent()
    if form.errors:
        return page(name, notes, form), 422
    note_id = notes.add(form.title, form.body, signature())
    trail.record(signature(), "wrote", note_id, form.title, notebook=name)
    flash("The note is written.")
    return redirect(url_for(".show", name=name))


@bp.post("/<name>/<int:note_id>/delete")
@inject
def delete(
    name: str,
    note_id: int,
    tenants: SQLiteDict = Provide[Container.tenants.provider],
    trail: AuditTrail = Provide[Container.trail],
) -> ResponseReturnValue:
    notes = Notes(tenants[name].connection())
    note = notes.get(note_id) or abort(404)
    notes.delete(note_id) or abort(404)
    trail.record(signature(), "deleted", note_id, note["title"], notebook=name)
    flash(f"“{note['title']}” is deleted.")
    return redirect(url_for(".show", name=name))


@bp.errorhandler(UnknownDatabase)
def unknown(_error: UnknownDatabase) -> ResponseReturnValue:
    return errors.page("Not Found", "There is no tenant of this name."), 404


def page(name: str, notes: Notes, form: NoteForm) -> str:
    return render_template("tenants/show.html", name=name, notes=notes.newest(100), form=form)
