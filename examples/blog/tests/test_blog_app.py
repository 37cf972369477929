"""The app as a whole: whose database it uses, and what it answers when something is in the way."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest
from blog_auth import Auth
from flask import Flask
from flask.testing import FlaskClient

from blog import create_app
from sqlite_container import Database, shutdown


def test_what_a_test_writes_never_reaches_the_real_file(
    auth: Auth, database: Database, instance: Path
) -> None:
    auth.register("Ada")
    with database.reader() as db:
        assert db.execute("SELECT name FROM user").fetchone()["name"] == "Ada"
    assert list(instance.iterdir()) == []


def test_the_next_test_finds_nobody(auth: Auth) -> None:
    assert auth.log_in("Ada").status_code == 403


def test_two_apps_have_a_blog_each(auth: Auth, tmp_path: Path) -> None:
    auth.register("Ada")
    other = create_app({"INSTANCE_PATH": str(tmp_path), "HASHING": "pbkdf2:sha256:1"})
    try:
        visitor = Auth(other.test_client())
        assert visitor.log_in("Ada").status_code == 403
        visitor.arrive("Eve")
    finally:
        shutdown(other.extensions["sqlite_container"])
    assert auth.log_in("Eve").status_code == 403
    assert auth.log_in("Ada").status_code == 302


def test_of_many_who_want_a_name_at_once_one_gets_it(app: Flask) -> None:
    answers: list[int] = []

    def register() -> None:
        answers.append(Auth(app.test_client()).register("Ada").status_code)

    threads = [Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [302] + 7 * [409]


def test_a_database_that_is_busy_is_not_the_users_fault(
    client: FlaskClient, auth: Auth, database: Database
) -> None:
    auth.arrive()
    with database.transaction(), ThreadPoolExecutor() as browser:  # which posts from a thread
        posted = browser.submit(client.post, "/new", data={"title": "Hello", "body": ""})
        response = posted.result()
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert "Service Unavailable" in response.text
    assert client.post("/new", data={"title": "Hello", "body": ""}).status_code == 302


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
def test_a_form_from_another_site_is_refused(
    client: FlaskClient, auth: Auth, headers: dict[str, str]
) -> None:
    auth.arrive()
    response = client.post("/new", data={"title": "Not by me", "body": ""}, headers=headers)
    assert response.status_code == 403
    assert "Not by me" not in client.get("/").text


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}],
)
def test_a_form_of_our_own_is_taken(
    client: FlaskClient, auth: Auth, headers: dict[str, str]
) -> None:
    auth.arrive()
    response = client.post("/new", data={"title": "By me", "body": ""}, headers=headers)
    assert response.status_code == 302


def test_every_page_says_what_it_may_load(client: FlaskClient) -> None:
    for path in ("/", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_that_is_not_there_is_said_to_be_missing(client: FlaskClient) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert "<h1>Not Found</h1>" in response.text


def test_without_settings_every_app_has_a_key_of_its_own(tmp_path: Path) -> None:
    one, two = (create_app({"INSTANCE_PATH": str(tmp_path)}) for _ in range(2))
    assert one.secret_key
    assert one.secret_key != two.secret_key


def test_the_environment_says_where_the_database_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOG_DATABASE__path", str(tmp_path / "elsewhere.db"))
    app = create_app({"INSTANCE_PATH": str(tmp_path / "instance")})
    container = app.extensions["sqlite_container"]
    try:
        assert app.test_client().get("/").status_code == 200
        assert (tmp_path / "elsewhere.db").exists()
    finally:
        shutdown(container)
