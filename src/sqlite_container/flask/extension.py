"""``init_app``: what an application needs to know of its container's databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click
from dependency_injector import containers, providers
from flask import Flask

from ..container.checks import check_container, check_settings, set_folders
from ..engine.engine import Folders
from ..errors import ConfigurationError, Mistake
from ..process.exit import shutdown_at_exit
from . import injection, reloader, request_scope, unavailable, wiring_checks


def init_app(app: Flask, container: containers.Container, *, signals: bool = True) -> None:
    """Give ``app`` its container, and the databases of the container their end.

    Checks the settings of every database, without opening any, and the views that are
    registered so far; the others are checked at the first request. Has the container shut down
    at the end of the process, which with ``signals`` is also SIGTERM and SIGHUP, as
    :func:`~sqlite_container.shutdown_at_exit` tells. Sets ``app.container`` and
    ``app.extensions["sqlite_container"]``. Raises :class:`ConfigurationError` and
    :class:`WiringError`, each with every mistake found.
    """
    container = _checked(app, container)
    if injection.EXTENSION in app.extensions:
        problem = "the app has a container already; call init_app once for each app"
        raise ConfigurationError([Mistake(app.name, problem)])
    data, package = Path(app.instance_path), Path(app.root_path)
    set_folders(container, Folders(data, (package, data)))
    check_settings(container)
    wiring_checks.check(app, container, finally_=False)
    app.extensions[injection.EXTENSION] = container
    app.container = container  # type: ignore[attr-defined]
    request_scope.connect(app)
    unavailable.answer(app)
    _check_at_first_request(app, container)
    _check_commands(app, container)
    shutdown_at_exit(container, signals=signals)
    reloader.install()


def _checked(app: Any, container: Any) -> containers.DynamicContainer:
    if not isinstance(app, Flask):
        swapped = "; they are swapped" if isinstance(container, Flask) else ""
        problem = f"the app comes first, then its container: found {app!r}, {container!r}{swapped}"
        raise ConfigurationError([Mistake("init_app(app, container)", problem)])
    if isinstance(container, providers.Provider):
        problem = f"an instance of a container is expected, found a provider, {container!r}"
        raise ConfigurationError([Mistake(app.name, problem)])
    check_container(container, app.name)
    return cast(containers.DynamicContainer, container)


def _check_at_first_request(app: Flask, container: Any) -> None:
    def check_views() -> None:
        wiring_checks.check(app, container, finally_=True)
        functions = app.before_request_funcs[None]
        # A new list: the old one is being walked through at this moment.
        app.before_request_funcs[None] = [each for each in functions if each is not check_views]

    app.before_request_funcs.setdefault(None, []).insert(0, check_views)


def _check_commands(app: Flask, container: Any) -> None:
    """Have each command checked when it is looked up to run: it may be registered later."""
    get_command = app.cli.get_command

    def checked(ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = get_command(ctx, cmd_name)
        if command is not None:
            wiring_checks.check_command(cmd_name, command, container)
        return command

    app.cli.get_command = checked  # type: ignore[method-assign]
