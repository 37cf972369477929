"""The trail: who wrote, edited or deleted what."""

import sqlite3
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from notebook.container import Container

pytestmark = pytest.mark.usefixtures("temporary_databases")
Write = Callable[..., str]


def entries(container: Container) -> list[tuple[str, str, str, str]]:
    return [
        (row["who"], row["action"], row["title"], row["notebook"])
        for row in reversed(container.trail().newest(100))
    ]


def test_every_change_of_a_note_leaves_a_line(
    client: FlaskClient, write: Write, container: Container
) -> None:
    location = write("Helo", author="Ada")
    client.post(f"{location}/edit", data={"title": "Hello", "author": "Jonas"})
    client.post(f"{location}/delete")
    assert entries(container) == [
        ("Ada", "wrote", "Helo", ""),
        ("Jonas", "edited", "Hello", ""),
        ("Jonas", "deleted", "Hello", ""),
    ]


def test_a_change_in_a_tenants_notebook_tells_whose_it_is(
    write: Write, container: Container
) -> None:
    write("Rye", to="/tenants/bakery/")
    assert entries(container) == [("Ada", "wrote", "Rye", "bakery")]


def test_who_does_not_sign_is_somebody(write: Write, container: Container) -> None:
    write("Anonymous", author="")
    assert entries(container) == [("Somebody", "wrote", "Anonymous", "")]


def test_what_was_refused_leaves_no_line(client: FlaskClient, container: Container) -> None:
    client.post("/notes/new", data={"title": ""})
    client.post("/notes/7/delete")
    client.post("/tenants/bakery/", data={"title": ""})
    assert entries(container) == []


def test_the_page_shows_the_newest_line_first(client: FlaskClient, write: Write) -> None:
    write("First")
    write("Second")
    page = client.get("/audit/").text
    assert page.index("“Second”") < page.index("“First”")


def test_a_long_trail_has_pages(client: FlaskClient, container: Container) -> None:
    trail = container.trail()
    for number in range(1, 32):
        trail.record("Ada", "wrote", number, f"Note {number:02}")
    first = client.get("/audit/").text
    assert "Note 02" in first
    assert "Note 01" not in first
    assert 'href="/audit/?before=2"' in first
    assert "Note 01" in client.get("/audit/?before=2").text
    assert "Nothing has happened before that." in client.get("/audit/?before=1").text


@pytest.mark.parametrize("change", ["UPDATE entry SET who = 'Eve'", "DELETE FROM entry"])
def test_nobody_rewrites_the_trail(container: Container, change: str) -> None:
    container.trail().record("Ada", "wrote", 1, "As it was")
    database = container.audit.database()
    refused = pytest.raises(sqlite3.IntegrityError, match="only ever added to")
    with refused, database.transaction() as db:
        db.execute(change)
    assert entries(container) == [("Ada", "wrote", "As it was", "")]


def test_the_trail_is_a_database_of_its_own(write: Write, container: Container) -> None:
    write("Somewhere")
    with container.notes.database().reader() as db:
        assert db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'entry'").fetchall() == []
