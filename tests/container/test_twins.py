"""Two databases of one container on the same file."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dependency_injector import containers, providers

from sqlite_container import Database, DatabaseOpenError, SQLite


@pytest.mark.parametrize("link", ["a folder", "the file"])
def test_twins_that_open_at_the_same_moment_are_one(tmp_path: Path, link: str) -> None:
    """However two threads hit the moment, one of the two databases is refused."""
    real = tmp_path / "real"
    real.mkdir()
    if link == "a folder":
        (tmp_path / "alias").symlink_to(real)
        twin = tmp_path / "alias" / "t.db"
    else:
        (real / "t.db").touch()
        twin = real / "twin.db"
        os.link(real / "t.db", twin)

    class Twins(containers.DeclarativeContainer):
        one = SQLite(str(real / "t.db"))
        two = SQLite(str(twin))

    for _ in range(10):
        container = Twins()
        barrier = threading.Barrier(2)

        def first_use(database: providers.Provider[Database]) -> bool:
            barrier.wait()  # noqa: B023
            try:
                database()
            except DatabaseOpenError as error:
                assert "same container" in str(error)  # noqa: PT017
                return False
            return True

        with ThreadPoolExecutor(2) as executor:
            both = [container.one.database, container.two.database]
            assert sum(executor.map(first_use, both)) == 1
        container.shutdown_resources()
