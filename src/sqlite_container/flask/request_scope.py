"""One app context, one connection of each database."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn, Self
from weakref import ref

from flask import Flask, Request, Response
from flask import globals as flask_globals
from flask.globals import _cv_app
from werkzeug.wsgi import ClosingIterator

from ..connection.borrower import Origin, caller
from ..connection.error_translation import cut_short
from ..container.scope import Scope, install
from ..errors import OutsideAppContext
from . import injection as wiring

if TYPE_CHECKING:
    from flask.ctx import AppContext

    from ..connection.connection import Connection

_KEY = "_sqlite_container_scope"
_current_request = getattr(flask_globals, "_cv_request", _cv_app)  # one context since Flask 3.2


class AppScope(Scope):
    """The connections that are out to one app context, and the request they are used for.

    Keeps neither the app nor the context alive.
    """

    __slots__ = ("_app", "_request", "body")

    current = _cv_app.get

    def __init__(self, context: AppContext) -> None:
        request: Request | None = getattr(_current_request.get(None), "request", None)
        super().__init__(ref(context), caller(4) if request is None else None)
        self._app = ref(context.app)
        self._request = request
        self.body: ref[Body] | None = None

    def gone(self) -> bool:
        return super().gone() and (self.unwound or self.body is None or self.body() is None)

    def describe(self) -> str | None:
        request = self._request
        if request is None:
            return None
        return f"{request.method} {request.path} ({request.endpoint})"

    @property
    def origin(self) -> Origin | None:
        app, request = self._app(), self._request
        if request is None:
            return super().origin
        if app is None or request.endpoint not in app.view_functions:
            return None
        view = app.view_functions[request.endpoint]
        view_class = getattr(view, "view_class", None)
        view = getattr(view_class, request.method.lower(), view)
        code = getattr(list(wiring.layers(view))[-1], "__code__", None)
        return code and (code.co_filename, code.co_firstlineno, code.co_name)


def find_scope() -> AppScope:
    """The scope of the current app context, made at the first use of a database in it."""
    context = _cv_app.get(None)
    if context is None:
        raise OutsideAppContext(
            "there is no app context here; in a script or a thread use 'with"
            " database.connection() as db:', or 'with app.app_context():' around what needs it"
        )
    held: dict[str, AppScope] = context.g.__dict__
    scope = held.get(_KEY)
    if scope is None:
        if wiring.EXTENSION not in context.app.extensions:
            _refuse(context.app)
        scope = held.setdefault(_KEY, AppScope(context))
    return scope


def held() -> list[Connection]:
    """The connections that are out to the current app context."""
    scope: AppScope | None = _cv_app.get().g.__dict__.get(_KEY)
    return [] if scope is None else scope.held


def _refuse(app: Flask) -> NoReturn:
    raise OutsideAppContext(
        f"app {app.name!r} would never give the connection back: call"
        " sqlite_container.flask.init_app(app, container) when it is created"
    )


def connect(app: Flask) -> None:
    """Have the connections of every app context of ``app`` given back."""
    install(find_scope)
    # Functions of this kind run last to first. Ours runs last, to see the final response.
    app.after_request_funcs.setdefault(None, []).insert(0, _wait_for_body)
    end_first(app)


def end_first(app: Flask) -> None:
    """Give back before any other teardown function: if that raises, Flask stops there.

    What those functions borrow is given back after them.
    """
    functions = app.teardown_appcontext_funcs
    others = [each for each in functions if each is not _end]
    functions[:] = [_end, *others, _end] if others else [_end]


def _end(_: BaseException | None) -> None:
    scope: AppScope | None = _cv_app.get().g.__dict__.get(_KEY)
    if scope is not None:
        if scope.streaming and scope.body is not None and scope.body() is None:
            scope.streaming = False  # another response took its place
        scope.end()


def _wait_for_body(response: Response) -> Response:
    """Keep the connections until a streamed body is sent: it may read from them."""
    scope: AppScope | None = _cv_app.get().g.__dict__.get(_KEY)
    if type(response.response) is list:  # as usual; is_streamed takes longer to tell it
        if scope is not None:
            scope.streaming = False
        return response
    if scope is None or not scope.held:
        return _begin_in_body(response) if response.is_streamed else response
    if isinstance(response.response, ClosingIterator) and _is_small(response):
        response.make_sequence()  # an error page, which Werkzeug gets from another WSGI app
    scope.streaming = bool(response.is_streamed) and _may_read(response, scope)
    if scope.streaming:
        _wrap(response, scope)
    return response


def _begin_in_body(response: Response) -> Response:
    """With ``stream_with_context`` the body may be the first to use a database."""
    if not response.direct_passthrough:
        scope = find_scope()
        scope.streaming = True
        _wrap(response, scope)
    return response


def _wrap(response: Response, scope: AppScope) -> None:
    response.response = body = Body(response.response, scope)
    scope.body = ref(body)


def _is_small(response: Response) -> bool:
    length: int | None = response.content_length
    return length is not None and length <= 64 * 1024


class Body:
    """A response's body that gives the connections back when it is sent, or not wanted."""

    def __init__(self, body: Any, scope: AppScope) -> None:
        self._body = body
        self._parts = iter(body)
        self._scope = scope

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        self._scope.sender = get_ident()
        try:
            return next(self._parts)
        except BaseException as error:  # the end among them
            interrupted = cut_short(error, self._scope.held)
            self._scope.body_sent()
            if interrupted is not None:
                raise interrupted from None  # the server prints it
            raise
        finally:
            self._scope.sender = 0

    def close(self) -> None:
        """Called by the server in the end, whatever has happened."""
        self._scope.sender = get_ident()
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._scope.sender = 0
            self._scope.body_sent()


def _may_read(response: Response, scope: AppScope) -> bool:
    """A file sent by ``send_file`` needs no connection, unless that file is a blob."""
    if not response.direct_passthrough:
        return True
    return any(connection.children.has_open_blob() for connection in scope.held)
