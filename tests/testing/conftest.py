"""Fixtures of the tests of temporary databases."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlite_container import shutdown
from sqlite_container.testing import files as temporary
from testing.helpers import add, make


@pytest.fixture(autouse=True)
def _nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Every temporary file is gone when the test is over."""
    memory, disk = tmp_path_factory.mktemp("memory"), tmp_path_factory.mktemp("disk")
    monkeypatch.setattr(temporary, "_MEMORY", str(memory))
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    yield
    assert list(memory.iterdir()) == list(disk.iterdir()) == []


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Any]:
    """A container with one row in each of its real databases."""
    (tmp_path / "notes.sql").write_text("CREATE TABLE note (title TEXT);")
    words = sqlite3.connect(tmp_path / "words.db")
    words.executescript("CREATE TABLE word (word TEXT); INSERT INTO word VALUES ('calm');")
    words.close()
    container = make(tmp_path)
    add(container.notes.database())
    add(container.tenants["acme"].database())
    yield container
    shutdown(container)
