"""Register, log in, log out."""

import pytest
from blog_auth import LONG_ENOUGH, Auth
from flask import session
from flask.testing import FlaskClient

from sqlite_container import Database


def test_a_visitor_registers_and_is_asked_to_log_in(client: FlaskClient, auth: Auth) -> None:
    response = auth.register()
    assert response.location == "/auth/login"
    assert "You can log in now." in client.get("/auth/login").text


def test_a_user_logs_in_and_is_greeted(client: FlaskClient, auth: Auth) -> None:
    auth.register("Ada")
    assert auth.log_in("ada").location == "/"
    page = client.get("/").text
    assert "Hello Ada!" in page
    assert "Log out" in page


def test_a_user_who_logs_out_is_a_visitor_again(client: FlaskClient, auth: Auth) -> None:
    auth.arrive()
    assert auth.log_out().location == "/"
    page = client.get("/").text
    assert "Log in" in page
    assert "Log out" not in page


def test_a_link_cannot_log_a_user_out(client: FlaskClient, auth: Auth) -> None:
    auth.arrive()
    assert client.get("/auth/logout").status_code == 405
    assert "Log out" in client.get("/").text


@pytest.mark.parametrize(
    ("name", "password"), [("Ada", "wrong horse"), ("Nobody", LONG_ENOUGH), ("", ""), ("Ada", "")]
)
def test_who_is_not_known_is_not_let_in(
    client: FlaskClient, auth: Auth, name: str, password: str
) -> None:
    auth.register("Ada")
    response = auth.log_in(name, password)
    assert response.status_code == 403
    assert "The name or the password is wrong." in response.text
    assert "Log out" not in client.get("/").text


@pytest.mark.parametrize(
    ("name", "password", "problem"),
    [
        ("", LONG_ENOUGH, "A name of up to 40 characters"),
        ("   ", LONG_ENOUGH, "A name of up to 40 characters"),
        ("a" * 41, LONG_ENOUGH, "A name of up to 40 characters"),
        ("Ada", "", "A password of 8 to 200 characters"),
        ("Ada", "short", "A password of 8 to 200 characters"),
        ("Ada", "a" * 201, "A password of 8 to 200 characters"),
    ],
)
def test_a_registration_needs_a_name_and_a_good_password(
    auth: Auth, database: Database, name: str, password: str, problem: str
) -> None:
    response = auth.register(name, password)
    assert response.status_code == 422
    assert problem in response.text
    with database.reader() as db:
        assert db.execute("SELECT name FROM user").fetchall() == []


@pytest.mark.parametrize("name", ["Ada", "ADA", " ada "])
def test_a_name_is_given_once(auth: Auth, name: str) -> None:
    auth.register("Ada")
    response = auth.register(name)
    assert response.status_code == 409
    assert "is taken" in response.text


def test_a_name_of_two_words_has_one_space(client: FlaskClient, auth: Auth) -> None:
    auth.arrive("  Ada   Lovelace ")
    assert "Hello Ada Lovelace!" in client.get("/").text


def test_the_form_that_comes_back_has_the_name_but_not_the_password(auth: Auth) -> None:
    response = auth.register("<Ada>", "short")
    assert 'value="&lt;Ada&gt;"' in response.text
    assert "short" not in response.text


def test_a_password_is_nowhere_in_the_database(auth: Auth, database: Database) -> None:
    auth.arrive()
    with database.reader() as db:
        assert not any(LONG_ENOUGH in line for line in db.iterdump())


def test_a_login_leaves_nothing_of_the_session_before(client: FlaskClient, auth: Auth) -> None:
    auth.register()
    with client.session_transaction() as before:
        before["planted"] = "by somebody else"
    with client:
        auth.log_in()
        assert "planted" not in session


def test_the_session_of_a_user_who_is_gone_is_that_of_a_visitor(
    client: FlaskClient, auth: Auth, database: Database
) -> None:
    auth.arrive("Ada")
    with database.transaction() as db:
        db.execute("DELETE FROM user")
    auth.register("Eve")
    assert "Log out" not in client.get("/").text
    assert client.get("/new").location == "/auth/login"


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
def test_the_forms_are_there(client: FlaskClient, path: str) -> None:
    assert 'type="password"' in client.get(path).text
