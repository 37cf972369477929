"""The audit trail, the newest first."""

from dependency_injector.wiring import Provide, inject
from flask import Blueprint, render_template, request

from notebook.audit import AuditTrail
from notebook.container import Container

bp = Blueprint("audit", __name__, url_prefix="/audit")
PER_PAGE = 30


@bp.get("/")
@inject
def index(trail: AuditTrail = Provide[Container.trail]) -> str:
    entries = trail.newest(PER_PAGE + 1, before=request.args.get("before", type=int))
    return render_template("audit.html", entries=entries[:PER_PAGE], more=len(entries) > PER_PAGE)
