"""503 for what passes by itself."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import OperationalError
from typing import Any

from flask import Flask, current_app, request
from werkzeug.exceptions import ServiceUnavailable

from ..connection.error_translation import cut_short
from ..errors import UNAVAILABLE, WriteDeadlock
from ..log import on_one_line
from . import request_scope

RETRY_AFTER = 1
"""Seconds after which a client may try again."""


def answer(app: Flask) -> None:
    """Answer errors such as :class:`DatabaseBusy` with 503 and ``Retry-After``.

    The app's own error handlers come first: those for a base class of the error, such as
    ``Exception``, and those for 503.
    """
    handlers = app.error_handler_spec[None][None]
    for error in UNAVAILABLE:
        handlers.setdefault(error, _unavailable)
    handlers.setdefault(OperationalError, _unavailable_if_cut_short)


def _unavailable_if_cut_short(error: OperationalError) -> Any:
    """sqlite3's own error, for a query that was interrupted while its rows were fetched."""
    interrupted = cut_short(error, [each.lender for each in request_scope.held()])
    if interrupted is not None:
        return current_app.handle_user_exception(interrupted)
    own = _own_handler(error)
    if own is None:
        raise error
    return current_app.ensure_sync(own)(error)


def _unavailable(error: Exception) -> Any:
    if isinstance(error, WriteDeadlock):
        raise error  # it will never pass: a mistake in the app
    own = _own_handler(error)
    if own is not None:
        return current_app.ensure_sync(own)(error)
    told = on_one_line(f"503 for {request.method} {request.path}: {error}")
    current_app.logger.warning("%s", told)
    return current_app.handle_http_exception(ServiceUnavailable(retry_after=RETRY_AFTER))


def _own_handler(error: Exception) -> Callable[..., Any] | None:
    handlers = current_app.error_handler_spec[None][None]
    for each in type(error).__mro__:
        if (found := handlers.get(each)) not in (None, *_OURS):
            return found
    return None


_OURS = (_unavailable, _unavailable_if_cut_short)
