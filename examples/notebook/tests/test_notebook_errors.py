"""What the app answers when something is wrong, or in the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from notebook import create_app
from notebook.container import Container
from sqlite_container import shutdown

Write = Callable[..., str]
empty = pytest.mark.usefixtures("temporary_databases")


@empty
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/notes/7"),
        ("GET", "/notes/7/edit"),
        ("POST", "/notes/7/edit"),
        ("POST", "/notes/7/delete"),
        ("GET", f"/notes/{2**63}"),
        ("GET", f"/notes/?page={2**63}"),
        ("GET", f"/audit/?before={10**30}"),
    ],
)
def test_what_is_not_there_is_not_found(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == 404
    assert "<h1>Not Found</h1>" in answer.text


@empty
def test_who_writes_too_long_is_in_the_way_of_writers_only(
    client: FlaskClient, container: Container, write: Write
) -> None:
    with container.notes.database().transaction():
        answer = client.post("/notes/new", data={"title": "Wait"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        assert "Too much at once." in answer.text
        assert client.get("/notes/").status_code == 200
        assert client.post("/tenants/bakery/", data={"title": "Rye"}).status_code == 302
    assert write("Now it goes")


@empty
def test_a_full_pool_asks_to_come_again(client: FlaskClient, container: Container) -> None:
    container.config.databases.notes.pool.from_value({"max_size": 1, "timeout": 0.05})
    database = container.notes.database()
    with database.reader():
        answer = client.get("/notes/")
    assert answer.status_code == 503
    assert "Too much at once." in answer.text
    assert client.get("/notes/").status_code == 200


def test_without_its_dictionary_the_app_says_what_to_do(tmp_path: Path) -> None:
    app = create_app({"instance_path": str(tmp_path)})
    try:
        answer = app.test_client().get("/words/")
        assert answer.status_code == 503
        assert "init-demo" in answer.text
    finally:
        shutdown(app.extensions["sqlite_container"])


@empty
def test_a_note_whose_line_in_the_trail_fails_is_there_all_the_same(
    client: FlaskClient, container: Container
) -> None:
    with container.audit.database().transaction(), ThreadPoolExecutor() as browser:
        posted = browser.submit(client.post, "/notes/new", data={"title": "Kept"})
        assert posted.result().status_code == 503
    assert "Kept" in client.get("/notes/").text
    assert container.trail().newest(10) == []


@empty
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
def test_a_form_from_another_site_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/notes/new", data={"title": "Not by me"}, headers=headers)
    assert answer.status_code == 403
    assert "This form was sent from another site." in answer.text
    assert "Not by me" not in client.get("/notes/").text


@empty
def test_a_form_of_our_own_is_taken(client: FlaskClient) -> None:
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}):
        answer = client.post("/notes/new", data={"title": "By me"}, headers=headers)
        assert answer.status_code == 302
