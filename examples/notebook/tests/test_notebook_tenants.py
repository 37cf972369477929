"""A notebook for each tenant, in a database of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from notebook import create_app
from notebook.container import Container
from sqlite_container.testing import temporary_databases as temporary

pytestmark = pytest.mark.usefixtures("temporary_databases")
Write = Callable[..., str]
TENANTS = ("bakery", "harbour", "orchard")


def titles(container: Container, tenant: str) -> list[str]:
    with container.tenants[tenant].database().reader() as db:
        return [row["title"] for row in db.execute("SELECT title FROM note ORDER BY id")]


def test_the_configuration_says_which_tenants_there_are(
    client: FlaskClient, container: Container
) -> None:
    assert container.tenants.names() == list(TENANTS)
    page = client.get("/tenants/").text
    assert all(f'href="/tenants/{name}/"' in page for name in TENANTS)


def test_a_note_is_in_the_notebook_it_was_written_to_and_in_no_other(
    client: FlaskClient, write: Write, container: Container
) -> None:
    assert write("Rye bread", "with caraway", to="/tenants/bakery/") == "/tenants/bakery/"
    page = client.get("/tenants/bakery/").text
    assert "The note is written." in page
    assert "with caraway" in page
    assert [titles(container, name) for name in TENANTS] == [["Rye bread"], [], []]
    assert "Rye bread" not in client.get("/tenants/harbour/").text
    assert "Rye bread" not in client.get("/notes/").text
    assert "No notes for" in client.get("/notes/?q=rye").text


def test_the_same_number_is_another_note_for_each_tenant(
    client: FlaskClient, write: Write, container: Container
) -> None:
    for name in TENANTS:
        write(f"Of the {name}", to=f"/tenants/{name}/")
    answer = client.post("/tenants/harbour/1/delete")
    assert "“Of the harbour” is deleted." in client.get(answer.location).text
    left = [titles(container, name) for name in TENANTS]
    assert left == [["Of the bakery"], [], ["Of the orchard"]]


def test_a_note_without_a_title_is_refused(client: FlaskClient, container: Container) -> None:
    answer = client.post("/tenants/orchard/", data={"title": "", "body": "kept"})
    assert answer.status_code == 422
    assert "Give the note a title." in answer.text
    assert "kept</textarea>" in answer.text
    assert titles(container, "orchard") == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tenants/castle/"),
        ("POST", "/tenants/castle/"),
        ("POST", "/tenants/castle/1/delete"),
        ("GET", "/tenants/..%2Fnotes/"),
        ("GET", "/tenants/BAKERY/"),
        ("POST", "/tenants/bakery/99/delete"),
    ],
)
def test_a_tenant_or_note_that_is_not_there_is_not_found(
    client: FlaskClient, method: str, path: str
) -> None:
    assert client.open(path, method=method).status_code == 404


def test_a_tenant_more_is_an_entry_of_configuration_more(tmp_path: Path) -> None:
    castle = {
        "path": "tenants/{name}.db",
        "schema": "schema/notes.sql",
        "row_factory": "sqlite3.Row",
        "pragmas": {"trusted_schema": True},
    }
    app = create_app({"instance_path": str(tmp_path / "two"), "tenants": {"castle": castle}})
    container: Container = app.extensions["sqlite_container"]
    with temporary(container):
        client = app.test_client()
        assert "Castle" in client.get("/tenants/").text
        client.post("/tenants/castle/", data={"title": "Drawbridge"})
        assert titles(container, "castle") == ["Drawbridge"]
        assert titles(container, "bakery") == []
    assert list((tmp_path / "two" / "tenants").iterdir()) == []
