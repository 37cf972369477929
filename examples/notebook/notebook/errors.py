"""Pages for what goes wrong."""

from flask import Flask, current_app, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from sqlite_container import DatabaseBusy, DatabaseOpenError, PoolTimeout, SQLiteContainerError


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(OverflowError, not_found)
    app.register_error_handler(DatabaseBusy, busy)
    app.register_error_handler(PoolTimeout, busy)
    app.register_error_handler(DatabaseOpenError, not_open)


def refused(error: HTTPException) -> ResponseReturnValue:
    return page(error.name, error.description or ""), error.code or 500, error.get_headers()


def not_found(_error: OverflowError) -> ResponseReturnValue:
    """A number too large for SQLite is the number of nothing."""
    return page("Not Found", "There is no such number."), 404


def busy(error: SQLiteContainerError) -> ResponseReturnValue:
    current_app.logger.warning("%s", error)
    return page("Busy", "Too much at once. Please try again shortly."), 503, {"Retry-After": "2"}


def not_open(error: DatabaseOpenError) -> ResponseReturnValue:
    current_app.logger.error("%s", error)
    return page("Not ready", "Run “flask --app notebook init-demo” first; the log says more."), 503


def page(title: str, text: str) -> str:
    return render_template("error.html", title=title, text=text)
