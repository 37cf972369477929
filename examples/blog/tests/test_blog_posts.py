"""Read, write, edit and delete posts."""

import pytest
from blog_auth import Auth
from flask.testing import FlaskClient

from sqlite_container import Database


def write(client: FlaskClient, title: str = "Hello", body: str = "The first lines.") -> None:
    response = client.post("/new", data={"title": title, "body": body})
    assert response.location == "/"


def posts(database: Database) -> list[tuple[str, str]]:
    with database.reader() as db:
        return [tuple(row) for row in db.execute("SELECT title, body FROM post ORDER BY id")]


def test_a_new_blog_says_that_it_is_empty(client: FlaskClient) -> None:
    assert "Nothing is written yet." in client.get("/").text


def test_everybody_reads_the_posts_the_newest_first(client: FlaskClient, auth: Auth) -> None:
    auth.arrive("Ada")
    write(client, "Yesterday")
    write(client, "Today")
    auth.log_out()
    page = client.get("/").text
    assert page.index("Today") < page.index("Yesterday")
    assert "Ada" in page


def test_a_post_tells_its_author_and_its_day(
    client: FlaskClient, auth: Auth, database: Database
) -> None:
    auth.arrive("Ada")
    write(client)
    with database.transaction() as db:
        db.execute("UPDATE post SET created = '2024-02-29T12:00:00Z'")
    assert 'Ada, <time datetime="2024-02-29T12:00:00Z">2024-02-29</time>' in client.get("/").text


def test_a_post_is_shown_as_it_was_written(client: FlaskClient, auth: Auth) -> None:
    auth.arrive()
    write(client, "2 < 3 & <b>so on</b>", "<script>alert(1)</script>\r\n\r\n“Grüße”")
    page = client.get("/").text
    assert "2 &lt; 3 &amp; &lt;b&gt;so on&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n\n“Grüße”" in page


def test_older_posts_are_on_pages_of_their_own(client: FlaskClient, auth: Auth) -> None:
    auth.arrive()
    for number in range(1, 12):
        write(client, f"Post {number:02}")
    first = client.get("/").text
    assert first.count("<article>") == 10
    assert 'href="/?before=2"' in first
    second = client.get("/?before=2").text
    assert "Post 01" in second
    assert second.count("<article>") == 1
    assert "Older posts" not in second


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/new", "/1/edit"])
def test_a_visitor_is_asked_to_log_in(client: FlaskClient, path: str, method: str) -> None:
    response = client.open(path, method=method)
    assert response.location == "/auth/login"
    assert "Please log in first." in client.get("/auth/login").text


def test_a_visitor_changes_nothing(client: FlaskClient, auth: Auth, database: Database) -> None:
    auth.arrive()
    write(client, "Mine", "as I wrote it")
    auth.log_out()
    for path in ("/new", "/1/edit", "/1/delete"):
        response = client.post(path, data={"title": "Yours", "body": ""})
        assert response.location == "/auth/login"
    assert posts(database) == [("Mine", "as I wrote it")]


def test_an_author_edits_a_post(client: FlaskClient, auth: Auth) -> None:
    auth.arrive()
    write(client, "Helo", "A <b>bold</b> line.")
    form = client.get("/1/edit").text
    assert 'value="Helo"' in form
    assert "A &lt;b&gt;bold&lt;/b&gt; line.</textarea>" in form
    response = client.post("/1/edit", data={"title": "Hello", "body": "Another line."})
    assert response.location == "/"
    page = client.get("/").text
    assert "The post is changed." in page
    assert "Hello" in page
    assert "Another line." in page
    assert "Helo" not in page


def test_an_author_deletes_a_post(client: FlaskClient, auth: Auth, database: Database) -> None:
    auth.arrive()
    write(client, "Keep")
    write(client, "Drop")
    assert client.post("/2/delete").location == "/"
    assert "The post is deleted." in client.get("/").text
    assert [title for title, _ in posts(database)] == ["Keep"]


def test_a_link_cannot_delete_a_post(client: FlaskClient, auth: Auth, database: Database) -> None:
    auth.arrive()
    write(client)
    assert client.get("/1/delete").status_code == 405
    assert len(posts(database)) == 1


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/1/edit"), ("POST", "/1/edit"), ("POST", "/1/delete")]
)
def test_nobody_touches_the_post_of_another(
    client: FlaskClient, auth: Auth, database: Database, method: str, path: str
) -> None:
    auth.arrive("Ada")
    write(client, "Ada's", "hers")
    auth.arrive("Eve")
    response = client.open(path, method=method, data={"title": "Eve's", "body": "mine"})
    assert response.status_code == 403
    assert "Only its author may change a post." in response.text
    assert posts(database) == [("Ada's", "hers")]


def test_only_the_author_is_offered_to_edit(client: FlaskClient, auth: Auth) -> None:
    auth.arrive("Ada")
    write(client, "By Ada")
    auth.arrive("Eve")
    write(client, "By Eve")
    page = client.get("/").text
    assert "Edit “By Eve”" in page
    assert "Edit “By Ada”" not in page
    auth.log_out()
    assert "Edit “" not in client.get("/").text


@pytest.mark.parametrize("number", [7, 2**63, 10**30])
@pytest.mark.parametrize(
    ("method", "what"), [("GET", "edit"), ("POST", "edit"), ("POST", "delete")]
)
def test_a_post_that_is_not_there_is_not_found(
    client: FlaskClient, auth: Auth, number: int, method: str, what: str
) -> None:
    auth.arrive()
    form = {"title": "Hello", "body": ""}
    assert client.open(f"/{number}/{what}", method=method, data=form).status_code == 404


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"title": "", "body": "kept"}, "A title of up to 120 characters"),
        ({"title": " \t ", "body": "kept"}, "A title of up to 120 characters"),
        ({"title": "a" * 121, "body": "kept"}, "A title of up to 120 characters"),
        ({"title": "kept", "body": "a" * 20_001}, "A text of up to 20,000 characters"),
        ({}, "A title of up to 120 characters"),
    ],
)
def test_what_cannot_be_saved_comes_back_with_the_reason(
    client: FlaskClient, auth: Auth, database: Database, form: dict[str, str], problem: str
) -> None:
    auth.arrive()
    write(client, "Before", "as it was")
    for path in ("/new", "/1/edit"):
        response = client.post(path, data=form)
        assert response.status_code == 422
        assert problem in response.text
        assert ("kept" in response.text) == bool(form)
    assert posts(database) == [("Before", "as it was")]
