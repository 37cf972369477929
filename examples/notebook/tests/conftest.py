"""An app of its own for each test; its module says which databases it works on.

`temporary_databases` gives empty ones, `isolated_databases` copies of those of the app.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from notebook import create_app
from notebook.container import Container
from notebook.sample import make_reference
from sqlite_container import shutdown

WORDS = {
    "ember": ["noun", "What a fire keeps for the morning."],
    "jetty": ["noun", "A road that believes it can reach the island."],
    "tarry": ["verb", "To stay a little longer than the coat would suggest."],
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app({"instance_path": str(tmp_path), "secret_key": "for the tests"})
    make_reference(tmp_path / "reference.db", WORDS)
    yield app
    shutdown(app.extensions["sqlite_container"])


@pytest.fixture
def container(app: Flask) -> Container:
    found: Container = app.extensions["sqlite_container"]
    return found


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def write(client: FlaskClient) -> Callable[..., str]:
    """Write a note, in the common notebook unless `to` says another; gives where it leads."""

    def write(title: str, body: str = "", author: str = "Ada", to: str = "/notes/new") -> str:
        form: dict[str, Any] = {"title": title, "body": body, "author": author}
        location = client.post(to, data=form).location
        assert location is not None, f"{title!r} was not accepted"
        return str(location)

    return write
