"""A page for what goes wrong. A database that is busy answers 503, and comes this way too."""

from flask import Flask, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, NotFound


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, page)
    app.register_error_handler(OverflowError, no_such_number)


def page(error: HTTPException) -> ResponseReturnValue:
    return render_template("error.html", error=error), error.code or 500, error.get_headers()


def no_such_number(_error: OverflowError) -> ResponseReturnValue:
    """A number too large for SQLite is the number of nothing."""
    return page(NotFound())
