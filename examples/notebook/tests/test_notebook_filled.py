"""A notebook that is filled once; what a test does to it is undone at the test's end."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from flask.testing import FlaskClient

from notebook import create_app
from notebook.container import Container
from sqlite_container import shutdown

pytestmark = pytest.mark.usefixtures("isolated_databases")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for this module, with the demo's notes, its trail and its dictionary."""
    app = create_app({"instance_path": str(tmp_path_factory.mktemp("instance"))})
    result = app.test_cli_runner().invoke(args=["init-demo"])
    assert result.exit_code == 0, result.output
    assert result.output.count("filled") == 6
    yield app
    shutdown(app.extensions["sqlite_container"])


def count(container: Container) -> int:
    with container.notes.database().reader() as db:
        return int(db.execute("SELECT count(*) FROM note").fetchone()[0])


def test_the_demo_has_notes_to_read(client: FlaskClient, container: Container) -> None:
    assert count(container) == 14
    assert "14 notes" in client.get("/notes/").text
    assert "Sourdough, the forgiving kind" in client.get("/notes/2").text


def test_the_demo_has_something_on_every_page(client: FlaskClient) -> None:
    for path in ("/", "/notes/", "/words/", "/tenants/bakery/", "/tenants/harbour/", "/audit/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "yet." not in answer.text


@pytest.mark.parametrize("number", [1, 2])
def test_a_note_that_one_test_deletes_is_there_for_the_next(
    client: FlaskClient, container: Container, number: int
) -> None:
    assert client.post(f"/notes/{number}/delete").status_code == 302
    assert client.get(f"/notes/{number}").status_code == 404
    assert count(container) == 13


@pytest.mark.parametrize("title", ["From a thread", "From another"])
def test_what_threads_write_for_tenants_is_undone_too(
    app: Flask, container: Container, title: str
) -> None:
    def write() -> None:
        app.test_client().post("/notes/new", data={"title": title})
        app.test_client().post("/tenants/orchard/", data={"title": title})

    threads = [Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(container) == 18
    page = app.test_client().get("/tenants/orchard/").text
    assert page.count("<h2>From a") == 4
    assert page.count(f"<h2>{title}</h2>") == 4


def test_a_notebook_that_was_emptied_is_not_filled_again(app: Flask, container: Container) -> None:
    with container.notes.database().transaction() as db:
        db.execute("DELETE FROM note")
    result = app.test_cli_runner().invoke(args=["init-demo"])
    assert result.exit_code == 0
    assert result.output.count("left as it is") == 6
    assert count(container) == 0


def test_the_files_of_the_app_are_what_they_were(
    app: Flask, client: FlaskClient, container: Container
) -> None:
    instance = Path(app.instance_path)
    before = {file: file.read_bytes() for file in instance.rglob("*") if file.is_file()}
    client.post("/notes/new", data={"title": "Nowhere"})
    assert count(container) == 15
    assert {file: file.read_bytes() for file in instance.rglob("*") if file.is_file()} == before
