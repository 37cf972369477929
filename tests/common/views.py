"""View modules that several apps of a process share."""

from typing import Annotated, Any

from dependency_injector.wiring import Provide, Provider, inject
from flask import Blueprint, Response, g, stream_with_context
from flask.views import MethodView, View

from common.shop import Archive, Repository, Shop
from sqlite_container import Connection, Database

bp = Blueprint("shared", __name__)
hooked = Blueprint("hooked", __name__)


def title(db: Connection) -> str:
    return str(db.execute("SELECT title FROM note ORDER BY id").fetchone()[0])


@bp.get("/connection")
@inject
def connection(db: Connection = Provide[Shop.notes.connection]) -> str:
    return title(db)


@bp.get("/reader")
@inject
def reader(db: Connection = Provide[Shop.notes.reader]) -> str:
    return title(db)


@bp.get("/database")
@inject
def database(database: Database = Provide[Shop.notes.database]) -> str:
    with database.reader() as db:
        return title(db)


@bp.get("/annotated")
@inject
def annotated(db: Annotated[Connection, Provide[Shop.notes.connection]]) -> str:
    return title(db)


@bp.get("/string")
@inject
def string(db: Connection = Provide["notes.connection"]) -> str:
    return title(db)


@bp.get("/tenant")
@inject
def tenant(db: Connection = Provide["tenants.acme.reader"]) -> str:
    return title(db)


@bp.get("/tenant-by-class")
@inject
def tenant_by_class(db: Connection = Provide[Shop.tenants["acme"].connection]) -> str:
    return title(db)


@bp.get("/repository")
@inject
def repository(notes: Repository = Provide[Shop.repository]) -> str:
    return notes.titles()[0]


@bp.get("/service")
@inject
def service(archive: Archive = Provide[Shop.archive]) -> str:
    return archive.titles()[0]


@bp.get("/provider")
@inject
def provider(connect: Any = Provider[Shop.notes.connection]) -> str:
    return title(connect())


@bp.get("/option")
@inject
def option(name: str = Provide[Shop.config.title]) -> str:
    return f"notes of {name}"


@bp.get("/string-option")
@inject
def string_option(name: str = Provide["config.title"]) -> str:
    return f"notes of {name}"


@bp.get("/container")
@inject
def whole(shop: Any = Provide["<container>"]) -> str:
    return title(shop.notes.connection())


@bp.get("/async")
@inject
async def asynchronous(db: Connection = Provide[Shop.notes.connection]) -> str:
    return title(db)


@bp.get("/stream")
@inject
def stream(db: Connection = Provide[Shop.notes.connection]) -> Response:
    return Response(stream_with_context(row[0] for row in db.execute("SELECT title FROM note")))


class Class(View):
    @inject
    def dispatch_request(self, db: Connection = Provide[Shop.notes.connection]) -> str:
        return title(db)


class Method(MethodView):
    @inject
    def get(self, db: Connection = Provide[Shop.notes.connection]) -> str:
        return title(db)


class Made(MethodView):
    init_every_request = True

    @inject
    def __init__(self, notes: Repository = Provide[Shop.repository]) -> None:
        self.notes = notes

    def get(self) -> str:
        return self.notes.titles()[0]


bp.add_url_rule("/class", view_func=Class.as_view("class"))
bp.add_url_rule("/method", view_func=Method.as_view("method"))
bp.add_url_rule("/made", view_func=Made.as_view("made"))


@inject
def deeper(db: Connection = Provide[Shop.notes.connection]) -> Connection:
    return db


@hooked.before_request
@inject
def before(db: Connection = Provide[Shop.notes.connection]) -> None:
    g.before = db


@hooked.get("/same")
@inject
def same(
    db: Connection = Provide[Shop.notes.connection],
    again: Connection = Provide["notes.connection"],
    notes: Repository = Provide[Shop.repository],
    connect: Any = Provider[Shop.notes.connection],
) -> list[bool]:
    return [db is other for other in (again, notes.db, connect(), deeper(), g.before)]


@hooked.get("/fail")
@inject
def fail(db: Connection = Provide[Shop.notes.connection]) -> str:
    raise LookupError(title(db))


@hooked.errorhandler(LookupError)
@inject
def failed(error: LookupError, db: Connection = Provide[Shop.notes.connection]) -> str:
    return f"{db is g.before} {str(error)!r}"


NAMES = [
    "connection", "reader", "database", "annotated", "string", "repository", "service", "provider",
    "option", "string-option", "container", "async", "stream", "class", "method", "made",
]  # fmt: skip
