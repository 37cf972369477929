"""A suite in several processes at the same time."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

APP = """
    from pathlib import Path
    from dependency_injector import containers
    from dependency_injector.wiring import Provide, inject
    from flask import Blueprint, Flask, request, stream_with_context
    from sqlite_container import Connection, SQLite, SQLiteDict
    from sqlite_container.flask import init_app

    HERE = Path(__file__).parent
    SCHEMA = str(HERE / "notes.sql")
    bp = Blueprint("notes", __name__)

    class Container(containers.DeclarativeContainer):
        wiring_config = containers.WiringConfiguration(modules=[__name__])
        notes = SQLite({"path": "notes.db", "schema": SCHEMA})
        tenants = SQLiteDict({"acme": {"path": "acme.db", "schema": SCHEMA}})

    @bp.post("/")
    @inject
    def add(
        db: Connection = Provide[Container.notes.connection],
        tenant: Connection = Provide["tenants.acme.connection"],
    ):
        for each in (db, tenant):
            with each:
                each.execute("INSERT INTO note VALUES (?)", [request.form["title"]])
        return "", 201

    @bp.get("/")
    @inject
    def index(
        db: Connection = Provide[Container.notes.reader],
        tenant: Connection = Provide["tenants.acme.reader"],
    ):
        @stream_with_context
        def lines():
            for each in (db, tenant):
                for (title,) in each.execute("SELECT title FROM note"):
                    yield f"{title} "
        return lines()

    def create_app():
        app = Flask(__name__, instance_path=str(HERE / "instance"))
        app.register_blueprint(bp)
        init_app(app, Container())
        return app
"""

CONFTEST = """
    import os, tempfile
    import pytest
    import shop
    from sqlite_container.testing import files as temporary

    temporary._MEMORY = tempfile.tempdir = str(shop.HERE / "temporary")

    @pytest.fixture(scope="session")
    def app():
        return shop.create_app()

    @pytest.fixture
    def client(app, temporary_databases):
        (shop.HERE / "workers" / os.environ["PYTEST_XDIST_WORKER"]).touch()
        return app.test_client()
"""

TESTS = """
    import pytest

    @pytest.mark.parametrize("n", range(40))
    def test_one_of_many(client, n):
        assert client.get("/").text == ""
        for title in (f"a{n}", f"b{n}"):
            assert client.post("/", data={"title": title}).status_code == 201
        assert client.get("/").text == f"a{n} b{n} a{n} b{n} "
"""


def test_workers_do_not_get_in_each_others_way(pytester: pytest.Pytester) -> None:
    """Each has files of its own, in one folder, and leaves nothing there."""
    pytest.importorskip("xdist")
    pytester.makefile(".sql", notes="CREATE TABLE note (title TEXT);")
    for folder in ("instance", "temporary", "workers"):
        pytester.mkdir(folder)
    pytester.makepyfile(shop=APP, conftest=CONFTEST, test_many=TESTS)
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=40)
    assert [each.name for each in sorted(pytester.path.glob("workers/*"))] == ["gw0", "gw1"]
    assert [*pytester.path.glob("instance/*"), *pytester.path.glob("temporary/*")] == []
