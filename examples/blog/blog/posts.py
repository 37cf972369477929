"""The posts: everybody reads them, who is logged in writes, and only the author changes one."""

from sqlite3 import Row

from dependency_injector.wiring import Provide, inject
from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from sqlite_container import Connection

from .auth import login_required
from .container import Container

bp = Blueprint("posts", __name__)
PER_PAGE, TITLE, BODY = 10, 120, 20_000


@bp.get("/")
@inject
def index(db: Connection = Provide[Container.blog.reader]) -> str:
    posts = db.execute(
        "SELECT post.*, user.name FROM post JOIN user ON user.id = post.author_id"
        " WHERE :before IS NULL OR post.id < :before ORDER BY post.id DESC LIMIT :limit",
        {"before": request.args.get("before", type=int), "limit": PER_PAGE + 1},
    ).fetchall()
    return render_template("posts/index.html", posts=posts[:PER_PAGE], more=posts[PER_PAGE:])


@bp.get("/new")
@login_required
def write() -> ResponseReturnValue:
    return form("Write a post")


@bp.post("/new")
@login_required
@inject
def create(db: Connection = Provide[Container.blog.connection]) -> ResponseReturnValue:
    post = sent()
    if problem := what_is_wrong(post):
        return form("Write a post", post, problem), 422
    with db:
        db.execute(
            "INSERT INTO post (author_id, title, body) VALUES (:author_id, :title, :body)",
            {"author_id": g.user["id"], **post},
        )
    flash("The post is published.")
    return redirect(url_for(".index"))


@bp.get("/<int:post_id>/edit")
@login_required
@inject
def edit(post_id: int, db: Connection = Provide[Container.blog.reader]) -> ResponseReturnValue:
    return form("Edit the post", dict(own_post(db, post_id)))


@bp.post("/<int:post_id>/edit")
@login_required
@inject
def update(
    post_id: int, db: Connection = Provide[Container.blog.connection]
) -> ResponseReturnValue:
    post = sent()
    with db:  # from the look at the author to the change, nobody else writes
        own_post(db, post_id)
        if problem := what_is_wrong(post):
            return form("Edit the post", post, problem), 422
        change = "UPDATE post SET title = :title, body = :body WHERE id = :id"
        db.execute(change, {"id": post_id, **post})
    flash("The post is changed.")
    return redirect(url_for(".index"))


@bp.post("/<int:post_id>/delete")
@login_required
@inject
def delete(
    post_id: int, db: Connection = Provide[Container.blog.connection]
) -> ResponseReturnValue:
    with db:
        own_post(db, post_id)
        db.execute("DELETE FROM post WHERE id = ?", (post_id,))
    flash("The post is deleted.")
    return redirect(url_for(".index"))


def own_post(db: Connection, post_id: int) -> Row:
    """The post, if it is there and by who is logged in; else an error page."""
    post: Row | None = db.execute("SELECT * FROM post WHERE id = ?", (post_id,)).fetchone()
    if post is None:
        abort(404, "There is no such post.")
    if post["author_id"] != g.user["id"]:
        abort(403, "Only its author may change a post.")
    return post


def sent() -> dict[str, str]:
    # Browsers send the ends of lines as \r\n.
    return {
        "title": " ".join(request.form.get("title", "").split()),
        "body": request.form.get("body", "").replace("\r\n", "\n").strip(),
    }


def what_is_wrong(post: dict[str, str]) -> str | None:
    if not 1 <= len(post["title"]) <= TITLE:
        return f"A title of up to {TITLE} characters, please."
    if len(post["body"]) > BODY:
        return f"A text of up to {BODY:,} characters, please."
    return None


def form(title: str, post: dict[str, str] | None = None, problem: str | None = None) -> str:
    return render_template("posts/form.html", title=title, post=post or {}, problem=problem)
