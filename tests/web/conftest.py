"""Fixtures of the tests of the Flask side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import wiring

from web.web_shop import MakeApp, factory


@pytest.fixture
def make_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeApp]:
    """Make apps that are wired to the test's module and to the shared views."""
    import web.web_views  # its views are wired too

    with factory(tmp_path, request.module.__name__, web.web_views.__name__) as make:
        yield make


@pytest.fixture
def forget_functions() -> Iterator[None]:
    """Forget the functions of each test, which dependency-injector's registry keeps for ever."""
    registry: Any = wiring._patched_registry
    before = dict(registry._callables)
    yield
    registry._callables.clear()
    registry._callables.update(before)
