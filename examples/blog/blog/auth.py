"""Register, log in, log out; and who is logged in."""

from collections.abc import Callable
from functools import wraps
from sqlite3 import IntegrityError
from typing import ParamSpec

from dependency_injector.wiring import Provide, inject
from flask import (
    Blueprint,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from sqlite_container import Connection

from .container import Container

bp = Blueprint("auth", __name__, url_prefix="/auth")
P = ParamSpec("P")
NAME, PASSWORD_FROM, PASSWORD_TO = 40, 8, 200


@bp.before_app_request
@inject
def find_user(db: Connection = Provide[Container.blog.reader]) -> None:
    g.user = None
    if "user_id" in session:
        find = "SELECT id, name FROM user WHERE id = ?"
        g.user = db.execute(find, (session["user_id"],)).fetchone()


def login_required(
    view: Callable[P, ResponseReturnValue],
) -> Callable[P, ResponseReturnValue]:
    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if g.user is None:
            flash("Please log in first.")
            return redirect(url_for("auth.login"))
        return view(*args, **kwargs)

    return guarded


@bp.get("/register")
def registration() -> str:
    return form("Register")


@bp.post("/register")
@inject
def register(db: Connection = Provide[Container.blog.connection]) -> ResponseReturnValue:
    name, password = sent()
    if problem := what_is_wrong(name, password):
        return form("Register", problem), 422
    # A good hash takes its time: it is made before the transaction, in which others wait.
    hashed = generate_password_hash(password, current_app.config["HASHING"])
    try:
        with db:
            db.execute("INSERT INTO user (name, password) VALUES (?, ?)", (name, hashed))
    except IntegrityError:
        return form("Register", f"The name “{name}” is taken."), 409
    flash("Welcome! You can log in now.")
    return redirect(url_for(".login"))


@bp.get("/login")
def login() -> str:
    return form("Log in")


@bp.post("/login")
@inject
def log_in(db: Connection = Provide[Container.blog.reader]) -> ResponseReturnValue:
    name, password = sent()
    user = db.execute("SELECT id, name, password FROM user WHERE name = ?", (name,)).fetchone()
    if user is None or not check_password_hash(user["password"], password):
        return form("Log in", "The name or the password is wrong."), 403
    session.clear()
    session["user_id"] = user["id"]
    flash(f"Hello {user['name']}!")
    return redirect(url_for("posts.index"))


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for("posts.index"))


def sent() -> tuple[str, str]:
    return " ".join(request.form.get("name", "").split()), request.form.get("password", "")


def what_is_wrong(name: str, password: str) -> str | None:
    if not 1 <= len(name) <= NAME:
        return f"A name of up to {NAME} characters, please."
    if not PASSWORD_FROM <= len(password) <= PASSWORD_TO:
        return f"A password of {PASSWORD_FROM} to {PASSWORD_TO} characters, please."
    return None


def form(title: str, problem: str | None = None) -> str:
    return render_template("auth/form.html", title=title, problem=problem, name=sent()[0])
