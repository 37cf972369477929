"""Notebook: a small Flask app on several SQLite databases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from sqlite_container.flask import init_app

from . import errors, pages, safety, sample
from .container import Container
from .views import audit, notes, reference, tenants, today


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """Make the app. What `settings` says goes over what `config.yml` says."""
    container = Container()
    container.config.from_yaml(Path(__file__).with_name("config.yml"), required=True)
    if settings:
        container.config.from_dict(dict(settings))

    app = Flask(__name__, instance_path=container.config.instance_path() or None)
    app.config["SECRET_KEY"] = container.config.secret_key()
    Path(app.instance_path, "tenants").mkdir(parents=True, exist_ok=True)

    for views in (today, notes, reference, tenants, audit):
        app.register_blueprint(views.bp)
    for part in (errors, pages, safety):
        part.init_app(app)
    app.cli.add_command(sample.init_demo)

    init_app(app, container)  # nothing is opened yet: each database opens on its first use
    return app
