"""The settings of a whole container, checked before anything opens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from dependency_injector import containers, providers

from ..engine import schema
from ..engine.engine import Folders
from ..errors import ConfigurationError, Mistake
from .providers import DatabaseProvider
from .sqlite_dict import SQLiteDict


def check_container(container: Any, place: str) -> None:
    """Raise :class:`ConfigurationError` for anything but an instance of a container."""
    if not isinstance(container, containers.DynamicContainer | providers.Container):
        raise ConfigurationError([Mistake(place, _no_container(container))])


def _no_container(found: Any) -> str:
    expected = f"an instance of a container is expected, found {found!r}"
    if isinstance(found, type) and hasattr(found, "traverse"):
        return f"{expected}; make one: {found.__name__}()"
    if hasattr(found, "extensions"):
        return f"{expected}; give the container of the app: app.container, once init_app has set it"
    return expected


def set_folders(container: Any, folders: Folders) -> None:
    """Where the relative paths of every database of a container start."""
    for provider in container.traverse(types=[SQLiteDict, DatabaseProvider]):
        provider.folders = folders


def check_settings(container: Any) -> None:
    """Raise :class:`ConfigurationError` with every mistake of every database.

    Opens no database. Schema files are read, functions and extensions are looked up.
    """
    files: dict[str, str] = {}
    mistakes = [mistake for each in _in_order(container) for mistake in _check(each, files)]
    if mistakes:
        raise ConfigurationError(list(dict.fromkeys(mistakes)))


def _in_order(container: Any) -> list[Any]:
    found = container.traverse(types=[SQLiteDict, DatabaseProvider])
    return sorted(found, key=lambda each: each.path if isinstance(each, SQLiteDict) else each.name)


def _check(provider: Any, files: dict[str, str]) -> Iterator[Mistake]:
    if isinstance(provider, SQLiteDict):
        yield from _told_by(partial(_check_every_member, provider))
        return
    yield from _told_by(provider.config)
    folders = provider.folders or Folders.current()
    path, schema_path = provider.readable()
    yield from _told_by(lambda: schema.find(provider.place, schema_path, folders.schemas))
    if path is not None and path != ":memory:":
        yield from _check_file(provider, os.path.realpath(folders.data / path), files)


def _check_every_member(provider: SQLiteDict) -> None:
    folders = provider.folders or Folders.current()
    for config in provider.check_settings():
        schema.find(provider.place, config.schema, folders.schemas)


def _check_file(provider: Any, file: str, files: dict[str, str]) -> Iterator[Mistake]:
    first = files.setdefault(file, provider.name)
    if first != provider.name:
        problem = f"database {first!r} of this container is on the same file, {file!r}"
        yield Mistake(f"{provider.place}.path", problem)


def _told_by(ask: Callable[[], object]) -> Sequence[Mistake]:
    try:
        ask()
    except ConfigurationError as error:
        return error.mistakes
    return ()
