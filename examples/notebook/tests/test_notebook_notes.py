"""The common notebook: list, search, write, show, edit, delete."""

from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient

from notebook.container import Container

pytestmark = pytest.mark.usefixtures("temporary_databases")
Write = Callable[..., str]


def test_a_new_notebook_says_that_it_is_empty(client: FlaskClient) -> None:
    assert "Nothing is written yet." in client.get("/notes/").text


def test_a_note_is_written_and_shown(client: FlaskClient, write: Write) -> None:
    location = write("Sourdough", "500 g flour", author="Jonas")
    page = client.get(location).text
    assert "The note is written." in page
    assert "<h1>Sourdough</h1>" in page
    assert "500 g flour" in page
    assert "Jonas" in page


def test_a_note_is_shown_as_it_was_written(client: FlaskClient, write: Write) -> None:
    location = write("<i>Tea</i> & cake", "<script>alert(1)</script>\r\n“Grüße”")
    page = client.get(location).text
    assert "<h1>&lt;i&gt;Tea&lt;/i&gt; &amp; cake</h1>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n“Grüße”" in page


def test_the_list_has_the_newest_note_first(client: FlaskClient, write: Write) -> None:
    write("Yesterday")
    write("Today's")
    page = client.get("/notes/").text
    assert page.index("Today&#39;s") < page.index("Yesterday")
    assert "2 notes" in page


def test_a_long_list_has_pages(client: FlaskClient, write: Write) -> None:
    for number in range(1, 14):
        write(f"Note {number:02}")
    first, second = client.get("/notes/").text, client.get("/notes/?page=2").text
    assert "Note 02" in first
    assert "Note 01" not in first
    assert 'href="/notes/?page=2"' in first
    assert "Note 01" in second
    assert "Note 02" not in second


def test_a_note_is_edited(client: FlaskClient, write: Write) -> None:
    location = write("Helo", "The first line.")
    form = client.get(f"{location}/edit").text
    assert 'value="Helo"' in form
    assert "The first line.</textarea>" in form
    answer = client.post(f"{location}/edit", data={"title": "Hello", "body": "Another line."})
    page = client.get(answer.location).text
    assert "The note is changed." in page
    assert "<h1>Hello</h1>" in page
    assert "Another line." in page
    assert "changed <time" in page


def test_a_note_is_deleted(client: FlaskClient, write: Write) -> None:
    location = write("Gone tomorrow")
    answer = client.post(f"{location}/delete")
    assert "“Gone tomorrow” is deleted." in client.get(answer.location).text
    assert client.get(location).status_code == 404


def test_the_number_of_a_deleted_note_is_not_given_again(client: FlaskClient, write: Write) -> None:
    first = write("First")
    client.post(f"{first}/delete")
    assert write("Second") != first


def test_a_visitor_signs_once(client: FlaskClient, write: Write) -> None:
    write("Signed", author="Mira")
    assert 'value="Mira"' in client.get("/notes/new").text
    location = write("Not signed", author="")
    assert "Mira" in client.get(location).text


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"title": "", "body": "kept"}, "Give the note a title."),
        ({"title": "  ", "body": "kept"}, "Give the note a title."),
        ({"title": "a" * 121, "body": "kept"}, "At most 120 characters"),
        ({"title": "kept", "body": "a" * 20_001}, "At most 20,000 characters"),
        ({"title": "kept", "author": "a" * 41}, "At most 40 characters"),
    ],
)
def test_what_cannot_be_saved_comes_back_with_the_reason(
    client: FlaskClient, write: Write, form: dict[str, str], problem: str
) -> None:
    location = write("As it was")
    for path in ("/notes/new", f"{location}/edit"):
        answer = client.post(path, data=form)
        assert answer.status_code == 422
        assert problem in answer.text
        assert "kept" in answer.text
    assert "<h1>As it was</h1>" in client.get(location).text
    assert "1 note ·" in client.get("/notes/").text


def test_a_search_finds_the_beginnings_of_words(client: FlaskClient, write: Write) -> None:
    write("Sourdough", "500 g flour")
    write("Tides", "The water comes twice a day.")
    page = client.get("/notes/?q=flo").text
    assert "1 note for" in page
    assert "<mark>flour</mark>" in page
    assert "Tides" not in page


def test_a_search_looks_for_every_word(client: FlaskClient, write: Write) -> None:
    write("Bread", "flour and water")
    write("Cake", "flour and sugar")
    page = client.get("/notes/?q=water+flour").text
    assert "Bread" in page
    assert "Cake" not in page


def test_a_search_prefers_titles(client: FlaskClient, write: Write) -> None:
    write("Harbour", "boats")
    write("Walk", "along the harbour, and back")
    page = client.get("/notes/?q=harbour").text
    assert page.index("<mark>Harbour</mark>") < page.index("Walk")


def test_a_search_follows_what_is_edited_and_deleted(client: FlaskClient, write: Write) -> None:
    location = write("Plum", "jam")
    client.post(f"{location}/edit", data={"title": "Pear", "body": "jam"})
    assert "No notes for" in client.get("/notes/?q=plum").text
    assert "1 note for" in client.get("/notes/?q=pear").text
    client.post(f"{location}/delete")
    assert "No notes for" in client.get("/notes/?q=pear").text


@pytest.mark.parametrize("text", ['"', "AND", "title:x", "NEAR(", "*", "a OR", "'; --", "…"])
def test_nothing_that_is_typed_is_a_command_to_the_search(
    client: FlaskClient, write: Write, text: str
) -> None:
    write("Ordinary", "note")
    answer = client.get("/notes/", query_string={"q": text})
    assert answer.status_code == 200
    assert "No notes for" in answer.text


def test_what_is_found_is_marked_and_the_rest_escaped(client: FlaskClient, write: Write) -> None:
    write("<b>Bold</b> plans")
    page = client.get("/notes/?q=bold").text
    assert "&lt;b&gt;<mark>Bold</mark>&lt;/b&gt; plans" in page


def test_a_repository_works_without_a_view(app: Flask, container: Container) -> None:
    with app.app_context():
        notes = container.note_writer()
        number = notes.add("By hand", "", "Ada")
        assert notes.edit(number, "By hand, twice", "")
        assert [row["title"] for row in notes.newest(10)] == ["By hand, twice"]
        assert notes.delete(number)
        assert not notes.delete(number)
        assert notes.count() == 0


def test_a_fake_repository_takes_the_place_of_the_real_one(
    client: FlaskClient, container: Container
) -> None:
    full = Mock(count=lambda: 1_000, newest=lambda _limit, _offset: [])
    with container.note_reader.override(full):
        assert "1000 notes" in client.get("/notes/").text
    assert "0 notes" in client.get("/notes/").text
