"""The fixtures that pytest finds by itself."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
    import sqlite3, pytest
    from dependency_injector import containers
    from sqlite_container import SQLite, shutdown

    class Shop(containers.DeclarativeContainer):
        notes = SQLite("notes.db")

    @pytest.fixture
    def container():
        container = Shop()
        yield container
        shutdown(container)
"""


def run(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    pytester.makeconftest(PROJECT)
    pytester.makepyfile(test)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_the_plugin_gives_fresh_databases(pytester: pytest.Pytester) -> None:
    """Two tests with the fixture find an empty database each, and no file is made."""
    result = run(
        pytester,
        """
        import pytest
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(n, temporary_databases):
            with temporary_databases.notes.database().transaction() as db:
                db.execute("CREATE TABLE t (i)")
        """,
    )
    result.assert_outcomes(passed=2)
    assert not (pytester.path / "notes.db").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "kept = temporary_databases.notes.database().connection(); kept.__enter__()",
            "not given back*test_*py*",
        ),
        ("import sqlite3; kept = sqlite3.connect(':memory:')", "not closed: *test_*py*"),
        (
            "import flask; context = flask.Flask('x').app_context(); context.push()",
            "app context that was pushed",
        ),
    ],
)
def test_the_plugin_fails_a_test_that_leaves_something_open(
    pytester: pytest.Pytester, line: str, said: str
) -> None:
    """What a test leaves open is named, with the place where it was opened."""
    result = run(
        pytester,
        f"""
        everything = []
        def test_it(temporary_databases):
            {line}
            everything.append(dict(locals()))
        """,
    )
    result.stdout.fnmatch_lines([f"*{said}*"])
    assert result.parseoutcomes().get("errors") == 1


STREAMS = """
    import pytest
    from dependency_injector import containers
    from dependency_injector.wiring import Provide, inject
    from flask import Flask
    from sqlite_container import Connection, SQLite
    from sqlite_container.flask import init_app

    class Shop(containers.DeclarativeContainer):
        wiring_config = containers.WiringConfiguration(modules=[__name__])
        notes = SQLite(":memory:")

    @pytest.fixture
    def app(tmp_path):
        app = Flask(__name__, instance_path=str(tmp_path))

        @app.get("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.reader]):
            return (str(each) for each, in db.execute("VALUES (1), (2)"))

        init_app(app, Shop())
        return app

    @pytest.mark.parametrize("end", ["pass", "response.close()", "response.text"])
    def test_it(app, temporary_databases, end):
        global response
        response = app.test_client().get("/")
        exec(end)
"""


def test_the_plugin_says_what_a_streamed_response_needs(pytester: pytest.Pytester) -> None:
    """A test that neither reads nor closes it fails, and is told both."""
    pytester.makepyfile(STREAMS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["*'notes'*not given back*GET / (index)*until it was read or closed*"]
    )


AROUND = """
    import pytest
    from dependency_injector import containers
    from dependency_injector.wiring import Provide, inject
    from flask import Flask
    from sqlite_container import Connection, SQLite
    from sqlite_container.flask import init_app

    class Shop(containers.DeclarativeContainer):
        wiring_config = containers.WiringConfiguration(modules=[__name__])
        notes = SQLite("notes.db")

    @pytest.fixture
    def app(tmp_path):
        app = Flask(__name__, instance_path=str(tmp_path))

        @app.post("/")
        @inject
        def index(db: Connection = Provide[Shop.notes.connection]):
            with db:
                db.execute("CREATE TABLE IF NOT EXISTS t (i)")
                db.execute("INSERT INTO t VALUES (1)")
            return str(db.execute("SELECT count(*) FROM t").fetchone()[0])

        init_app(app, Shop())
        with app.app_context():
            yield app

    @pytest.mark.parametrize("n", [1, 2])
    @pytest.mark.parametrize("fixture", ["temporary_databases", "isolated_databases"])
    def test_it(app, request, n, fixture):
        container = request.getfixturevalue(fixture)
        assert app.test_client().post("/").text == "1"
        assert container.notes.connection().execute("SELECT count(*) FROM t").fetchone() == (1,)
        assert app.test_client().post("/").text == "2"
"""


def test_an_app_context_around_the_whole_test_is_no_leak(pytester: pytest.Pytester) -> None:
    """Many suites have one, and what it has borrowed goes back at the end of the test."""
    pytester.makepyfile(AROUND)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize("fixture", ["temporary_databases", "isolated_databases"])
@pytest.mark.parametrize(
    ("project", "said"),
    [
        ("", "need a fixture of the project: 'app'*or 'container'"),
        (
            "def app(): return flask.Flask('x')",
            "init_app(app, container)*fixture 'app' gives*Flask",
        ),
        ("def container(): return Shop", "fixture 'container' gives*Shop*no container"),
    ],
)
def test_a_project_without_a_container_is_told_what_to_do(
    pytester: pytest.Pytester, project: str, said: str, fixture: str
) -> None:
    """Neither an app without `init_app` nor a container class is taken for a container."""
    pytester.makepyfile(
        f"""
        import flask, pytest
        from dependency_injector import containers
        class Shop(containers.DeclarativeContainer): ...
        {"@pytest.fixture" if project else ""}
        {project}
        def test_it({fixture}): ...
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{said}*"])


def test_a_fixture_of_another_kind_is_passed_over(pytester: pytest.Pytester) -> None:
    """Where `container` is something else, such as Docker's, that of the app is taken."""
    pytester.makepyfile(
        """
        import pytest
        from dependency_injector import containers
        from flask import Flask
        from sqlite_container import SQLite
        from sqlite_container.flask import init_app

        class Shop(containers.DeclarativeContainer):
            notes = SQLite("notes.db")

        @pytest.fixture
        def container():
            return "of Docker"

        @pytest.fixture
        def app():
            app = Flask(__name__)
            init_app(app, Shop())
            return app

        def test_it(app, container, temporary_databases):
            assert temporary_databases is app.container
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    """The library is not imported by a run that uses no fixture of it."""
    pytester.makepyfile(
        """
        import sys
        def test_it():
            assert "sqlite_container" not in sys.modules
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
