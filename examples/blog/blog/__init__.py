"""Blog: the classic small Flask app, on one SQLite database."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from sqlite_container.flask import init_app

from . import auth, errors, posts, safety
from .container import Container


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """Make the app. `settings` goes over the environment, and that over what stands here."""
    settings = settings or {}
    app = Flask(__name__, instance_path=settings.get("INSTANCE_PATH"))
    app.config.from_mapping(
        SECRET_KEY=secrets.token_hex(),  # everybody is logged out when the app is started anew
        HASHING="scrypt",
        DATABASE={"path": "blog.db", "schema": "schema.sql", "row_factory": "sqlite3.Row"},
    )
    app.config.from_prefixed_env("BLOG")
    app.config.update(settings)
    Path(app.instance_path).mkdir(parents=True, exist_ok=True)

    container = Container()
    container.config.from_dict({"database": app.config["DATABASE"]})

    errors.init_app(app)
    safety.init_app(app)
    app.register_blueprint(auth.bp)
    app.register_blueprint(posts.bp)
    init_app(app, container)
    return app
