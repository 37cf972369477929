"""One app for all tests; the blog behind it is a new one in each of them."""

from pathlib import Path

import pytest
from blog_auth import Auth
from flask import Flask
from flask.testing import FlaskClient

from blog import create_app
from blog.container import Container
from sqlite_container import Database


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the app has its real database, if it has any."""
    return tmp_path_factory.mktemp("instance")


@pytest.fixture(scope="session")
def app(instance: Path) -> Flask:
    return create_app(
        {
            "TESTING": True,
            "INSTANCE_PATH": str(instance),
            "SECRET_KEY": "for the tests",
            "HASHING": "pbkdf2:sha256:1",  # a good hash is slow
        }
    )


@pytest.fixture(autouse=True)
def new_blog(temporary_databases: object) -> None:
    """Each test has a blog without users and posts, whether it asks for it or not."""


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def auth(client: FlaskClient) -> Auth:
    return Auth(client)


@pytest.fixture
def database(app: Flask) -> Database:
    """What the views write to, for a look behind them."""
    container: Container = app.extensions["sqlite_container"]
    return container.blog.database()
