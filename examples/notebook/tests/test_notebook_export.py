"""All notes as CSV, sent while they are read."""

import csv
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from notebook.container import Container

pytestmark = pytest.mark.usefixtures("temporary_databases")
Write = Callable[..., str]
PATH = "/notes/export.csv"


@pytest.fixture
def many(temporary_databases: Container) -> int:
    """So many notes that they are not sent at once."""
    rows = [(f"Note {number}", f"Line {number}\nand “more”", "Ada") for number in range(2_000)]
    with temporary_databases.notes.database().transaction() as db:
        db.executemany("INSERT INTO note (title, body, author) VALUES (?, ?, ?)", rows)
    return len(rows)


def test_every_note_is_a_line(client: FlaskClient, many: int) -> None:
    answer = client.get(PATH)
    assert answer.mimetype == "text/csv"
    assert "notes.csv" in answer.headers["Content-Disposition"]
    lines = list(csv.DictReader(answer.text.splitlines(keepends=True)))
    assert len(lines) == many
    assert lines[7]["title"] == "Note 7"
    assert lines[7]["body"] == "Line 7\nand “more”"
    assert lines[7]["edited"] == ""


def test_an_empty_notebook_has_a_heading_only(client: FlaskClient) -> None:
    assert client.get(PATH).text == "id,title,body,author,created,edited\r\n"


def test_the_connection_is_out_until_the_last_line_is_sent(
    client: FlaskClient, container: Container, many: int
) -> None:
    database = container.notes.database()
    with client.get(PATH, buffered=False) as answer:
        body: Iterator[bytes] = iter(answer.iter_encoded())
        next(body)
        assert [str(holder.request) for holder in database.holders()] == [
            "GET /notes/export.csv (notes.export)"
        ]
        assert sum(1 for _ in body) == many  # after the heading
        assert database.holders() == []


@pytest.mark.usefixtures("many")
def test_who_goes_away_in_the_middle_leaves_nothing_behind(
    client: FlaskClient, container: Container
) -> None:
    with client.get(PATH, buffered=False) as answer:
        next(iter(answer.iter_encoded()))
    assert container.notes.database().holders() == []


@pytest.mark.usefixtures("many")
def test_a_note_that_is_written_meanwhile_waits_for_the_next_export(
    client: FlaskClient, write: Write
) -> None:
    with client.get(PATH, buffered=False) as answer:
        body = iter(answer.iter_encoded())
        next(body)
        write("Too late")
        assert not any(b"Too late" in line for line in body)
    assert "Too late" in client.get(PATH).text
