"""``init_app``: what an application needs to know of its container's databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dependency_injector import containers
from flask import Flask

from .. import lifecycle, watcher
from ..checks import check_settings, set_folders
from ..engine import Folders
from ..errors import ConfigurationError, Mistake
from . import scope, unavailable, views, wiring


def init_app(app: Flask, container: containers.Container, *, signals: bool = True) -> None:
    """Give ``app`` its container, and the databases of the container their end.

    Checks the settings of every database, without opening any, and the views that are
    registered so far; the others are checked at the first request. Has the container shut down
    at the end of the process, which with ``signals`` is also SIGTERM and SIGHUP, as
    :func:`~sqlite_container.shutdown_at_exit` tells. Sets ``app.container`` and
    ``app.extensions["sqlite_container"]``. Raises :class:`ConfigurationError` and
    :class:`WiringError`, each with every mistake found.
    """
    if not isinstance(container, containers.DynamicContainer):
        problem = f"an instance of a container is expected, found {container!r}"
        raise ConfigurationError([Mistake(app.name, problem)])
    if wiring.EXTENSION in app.extensions:
        problem = "the app has a container already; call init_app once for each app"
        raise ConfigurationError([Mistake(app.name, problem)])
    data, package = Path(app.instance_path), Path(app.root_path)
    set_folders(container, Folders(data, (package, data)))
    check_settings(container)
    views.check(app, container, finally_=False)
    app.extensions[wiring.EXTENSION] = container
    app.container = container  # type: ignore[attr-defined]
    scope.connect(app)
    unavailable.answer(app)
    _check_at_first_request(app, container)
    lifecycle.shutdown_at_exit(container, signals=signals)
    watcher.install()


def _check_at_first_request(app: Flask, container: Any) -> None:
    def check_views() -> None:
        views.check(app, container, finally_=True)
        scope.end_first(app)
        functions = app.before_request_funcs[None]
        # A new list: the old one is being walked through at this moment.
        app.before_request_funcs[None] = [each for each in functions if each is not check_views]

    app.before_request_funcs.setdefault(None, []).insert(0, check_views)
