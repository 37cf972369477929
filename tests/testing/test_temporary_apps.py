"""A suite that makes an app for each of its tests."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from flask import Flask

from sqlite_container import Database, shutdown
from sqlite_container.database.database import live
from sqlite_container.testing import temporary_databases
from testing.apps import answers, create_app, mark

APPS = 500


def one_test(folder: Path, number: int, made: WeakSet[Any]) -> None:
    """What a test of such a suite does; each app is in a folder of its own, with its own row."""
    app: Any = create_app(folder / str(number % 7))
    with temporary_databases(app.container):
        made.update([app, app.container, app.container.service(), app.container.notes.database()])
        mark(app, f"app {number}")
        assert answers(app) == {f"app {number}"}


def alive() -> list[object]:
    """The apps and databases of the process."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), (Flask, Database))]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_app_for_each_of_500_tests(tmp_path: Path) -> None:
    """Every view of every app sees its own database, and nothing of an app is left."""
    made: WeakSet[Any] = WeakSet()
    one_test(tmp_path, 0, made)
    before = len(alive())
    for number in range(1, APPS + 1):
        one_test(tmp_path, number, made)
        if number % 100 == 0:
            assert len(alive()) == before
    assert list(made) == list(live) == []
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_apps_that_live_on_keep_their_own(tmp_path: Path) -> None:
    """Apps that were made before others, and the real files of each, are not mixed up."""
    made: WeakSet[Any] = WeakSet()
    apps: dict[str, Any] = {}
    app: Any = None
    for number in range(50):
        app = create_app(tmp_path / f"real {number}")
        mark(app, f"real {number}")
        shutdown(app.container)  # or there would be hundreds of open files
        apps[f"real {number}"] = app
        one_test(tmp_path, number, made)
    for name, app in apps.items():
        with temporary_databases(app.container):
            mark(app, f"test of {name}")
            assert answers(app) == {f"test of {name}"}
        assert answers(app) == {name}
        shutdown(app.container)
    made.update(apps.values())
    apps.clear()
    app = None
    gc.collect()
    assert list(made) == []
