"""The dictionary that the app only reads: with its words, so a copy of it and no empty one."""

from datetime import date, timedelta

import pytest
from flask.testing import FlaskClient

from notebook import words
from notebook.container import Container
from sqlite_container import ReadOnlyConnection

pytestmark = pytest.mark.usefixtures("isolated_databases")


def test_the_page_lists_every_word(client: FlaskClient) -> None:
    page = client.get("/words/").text
    assert page.index("<dt>ember") < page.index("<dt>jetty") < page.index("<dt>tarry")
    assert "Word of the day" in page


@pytest.mark.parametrize(
    ("text", "word"), [("jet", "jetty"), ("TARRY", "tarry"), ("fire", "ember")]
)
def test_a_word_is_found_by_itself_or_by_its_meaning(
    client: FlaskClient, text: str, word: str
) -> None:
    page = client.get("/words/", query_string={"q": text}).text
    assert "1 word for" in page
    assert f"<dt>{word} " in page


def test_what_is_not_in_it_is_not_found(client: FlaskClient) -> None:
    assert "No words for" in client.get("/words/?q=%25").text


def test_the_word_of_the_day_is_another_each_day(container: Container) -> None:
    monday = date(2025, 3, 3)
    with container.reference.database().reader() as db:
        found = [words.of_the_day(db, monday + timedelta(days=n)) for n in range(4)]
    of_the_days = [row["word"] for row in found if row]
    assert sorted(of_the_days[:3]) == ["ember", "jetty", "tarry"]
    assert of_the_days[3] == of_the_days[0]


def test_nobody_writes_in_it(container: Container) -> None:
    database = container.reference.database()
    with database.connection() as db, pytest.raises(ReadOnlyConnection):
        db.execute("DELETE FROM word")


def test_the_front_page_has_a_bit_of_everything(client: FlaskClient) -> None:
    client.post("/notes/new", data={"title": "In front", "author": "Ada"})
    page = client.get("/").text
    assert "Word of the day" in page
    assert "In front" in page
    assert "<strong>Ada</strong> wrote" in page
    assert 'href="/tenants/orchard/"' in page
