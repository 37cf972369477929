"""503 for what passes by itself."""

from __future__ import annotations

from flask import Flask
from werkzeug.exceptions import ServiceUnavailable

from ..errors import UNAVAILABLE

RETRY_AFTER = 1
"""Seconds after which a client may try again."""


def answer(app: Flask) -> None:
    """Answer errors such as :class:`DatabaseBusy` with 503, where the app does not itself."""
    handlers = app.error_handler_spec[None][None]
    for error in UNAVAILABLE:
        handlers.setdefault(error, _unavailable)


def _unavailable(error: Exception) -> ServiceUnavailable:
    from flask import current_app

    current_app.logger.warning("503: %s", error)
    return ServiceUnavailable(retry_after=RETRY_AFTER)
