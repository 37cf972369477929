"""One app context, one connection of each database."""

from __future__ import annotations

from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, NoReturn, Self
from weakref import ref

from flask import Flask, Request, Response
from flask import globals as flask_globals
from flask.globals import _cv_app
from werkzeug.wsgi import ClosingIterator

from ..connection.connection import Connection
from ..connection.error_translation import cut_short
from ..connection.origin import Origin, caller, frameworks, line_of
from ..container.scope import scopes
from ..database.database import Database
from ..errors import OutsideAppContext, TooManyRequests
from ..log import on_one_line
from ..threads.liveness import is_unwound, this_thread
from . import injection

if TYPE_CHECKING:
    from flask.ctx import AppContext

_KEY = "_sqlite_container_scope"
_current_request = getattr(flask_globals, "_cv_request", _cv_app)  # one context since Flask 3.2
frameworks |= {"flask", "werkzeug", "asgiref"}


class AppScope:
    """The connections of one app context, and their borrower: it may use them in any thread.

    Each is lent at its first use, and given back once. Keeps neither the app nor the context
    alive. ``_lock`` guards lending: two threads of one request that ask at the same moment get
    the same connection.
    """

    __slots__ = (
        "__weakref__",
        "_alive",
        "_app",
        "_called_from",
        "_ended",
        "_lock",
        "_request",
        "body",
        "connections",
        "expected",
        "readers",
        "sender",
        "streaming",
        "thread",
    )

    current: Any = _cv_app.get

    def __init__(self, context: AppContext) -> None:
        request: Request | None = getattr(_current_request.get(None), "request", None)
        self.thread, self._alive = this_thread.life
        self._called_from = caller(4) if request is None else None
        self._app = ref(context.app)
        self._request = request
        self.expected: Any = ref(context)
        self.connections: dict[Database, Connection] = {}
        self.readers: dict[Database, Connection] = {}
        self.body: ref[Body] | None = None
        self.streaming = False
        self.sender = 0  # the thread that runs the body at this moment, in whichever context
        self._ended = False
        self._lock = Lock()

    # -- what it has borrowed -------------------------------------------------------------

    def lend(self, database: Database, *, read_only: bool) -> Connection:
        """Return this scope's connection to ``database``. Raises what :meth:`Pool.lend` does."""
        held = self.readers if read_only else self.connections
        with self._lock:
            connection = held.get(database)
            if connection is None or connection.borrower is not self:
                connection = held[database] = database.lend(self, read_only=read_only)
                if self.streaming:
                    connection.lender.begin_stream(self)
            return connection

    def begin_stream(self) -> None:
        """Keep what is out while the body is sent. Raises :class:`TooManyRequests`."""
        try:
            for connection in self.held:
                connection.lender.begin_stream(self)
        except TooManyRequests:
            self.streaming = False
            raise

    def release(self) -> None:
        """Give everything back. Safe to call twice."""
        for held in (self.connections, self.readers):
            while held:
                _, connection = held.popitem()
                connection.lender.give_back(connection, self)

    def end(self) -> None:
        """End with the context. What a response's body still needs goes back when that is sent."""
        self._ended = True
        if not self.streaming:
            self.release()

    def body_sent(self) -> None:
        """Give back: the body is sent, or nobody wants it any more. Safe to call twice."""
        self.streaming = False
        if self._ended:
            self.release()

    @property
    def held(self) -> list[Connection]:
        """The connections that are out to this scope."""
        return [*self.connections.values(), *self.readers.values()]

    # -- as a borrower --------------------------------------------------------------------

    def may_use_it_here(self) -> bool:
        """Tell whether the code runs in its context, or makes the body of its response."""
        context = self.expected()
        is_in_context = context is not None and self.current(None) is context
        return is_in_context or self.sender == get_ident()

    def gone(self) -> bool:
        """Tell whether its context is gone, and its body."""
        if self.unwound:
            return True
        return self.expected() is None and (self.body is None or self.body() is None)

    def thread_is_over(self) -> bool:
        """Tell whether the thread that pushed the context has ended."""
        return self._alive() is None

    @property
    def unwound(self) -> bool:
        """Whether its thread has left every block, because the process ends."""
        return is_unwound(self.thread)

    def forget(self) -> None:
        """Lend others, in a forked child, when they are asked for: these are the parent's."""
        self.connections.clear()
        self.readers.clear()
        self._lock = Lock()

    def describe(self) -> str | None:
        """Return the request, in words."""
        request = self._request
        if request is None:
            return None
        return on_one_line(f"{request.method} {request.path} ({request.endpoint})")

    @property
    def origin(self) -> Origin | None:
        """The view that the connection was injected into, or the line that asked for it."""
        app, request = self._app(), self._request
        if request is None:
            return None if self._called_from is None else line_of(self._called_from)
        if app is None or request.endpoint not in app.view_functions:
            return None
        view = app.view_functions[request.endpoint]
        view_class = getattr(view, "view_class", None)
        view = getattr(view_class, request.method.lower(), view)
        code = getattr(list(injection.layers(view))[-1], "__code__", None)
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
        if injection.EXTENSION not in context.app.extensions:
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
    """Have the connections of every app context of ``app`` given back.

    Two methods of the app are wrapped, where functions could be registered: ours come after all
    others then, whatever those raise, and Flask does not have to ask of each in every request
    whether it is a coroutine.
    """
    scopes.install(find_scope)
    process_response, tear_down = app.process_response, app.do_teardown_appcontext

    def process_response_and_wait(response: Response) -> Response:
        response = process_response(response)
        try:
            return _wait_for_body(response)
        except TooManyRequests as error:
            response.close()
            return app.make_response(app.handle_user_exception(error))

    def tear_down_and_give_back(*args: Any, **kwargs: Any) -> None:
        try:
            tear_down(*args, **kwargs)
        finally:
            _end()

    app.process_response = process_response_and_wait  # type: ignore[method-assign]
    app.do_teardown_appcontext = tear_down_and_give_back  # type: ignore[method-assign]


def _end() -> None:
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
    scope.streaming = False
    if response.is_streamed and _may_read(response, scope):
        scope.begin_stream()
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
            interrupted = cut_short(error, [each.lender for each in self._scope.held])
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
    return any(connection.cursors.has_open_blob() for connection in scope.held)
