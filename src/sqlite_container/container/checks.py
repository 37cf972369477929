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
from .providers import DatabaseProvider, folders_of, outermost, start_of_paths
from .replaced import is_replaced, use_replacements
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
    """Say where the relative paths of every database of a container start.

    Also of those that are added later, and of those that its providers take from elsewhere.
    """
    folders_of[container] = folders
    for each in container.traverse(types=[SQLiteDict, DatabaseProvider]):
        folders_of[outermost(each if isinstance(each, SQLiteDict) else each.owner)] = folders


def check_settings(container: Any) -> None:
    """Raise :class:`ConfigurationError` with every mistake of every database.

    Opens no database. Schema files are read, functions and extensions are looked up.
    """
    files: dict[str, str] = {}
    replaced = use_replacements(container)
    mistakes = [mistake for each in _in_order(container) for mistake in _check(each, files)]
    if replaced or mistakes:
        raise ConfigurationError(list(dict.fromkeys([*replaced, *mistakes])))


def _in_order(container: Any) -> list[Any]:
    found = container.traverse(types=[SQLiteDict, DatabaseProvider])
    used = [each for each in found if isinstance(each, SQLiteDict) or not is_replaced(each.owner)]
    return sorted(used, key=lambda each: each.path if isinstance(each, SQLiteDict) else each.name)


def _check(provider: Any, files: dict[str, str]) -> Iterator[Mistake]:
    if isinstance(provider, SQLiteDict):
        yield from _told_by(partial(_check_every_member, provider))
        return
    yield from _told_by(provider.config)
    folders = provider.start_of_paths()
    path, schema_path = provider.readable()
    yield from _told_by(lambda: schema.find(provider.place, schema_path, folders.schemas))
    if path is not None and path != ":memory:":
        file = os.path.realpath(folders.data / path)
        yield from _check_file(provider, file, files)
        yield from _check_open_file(provider, file)


def _check_every_member(provider: SQLiteDict) -> None:
    for config in provider.check_settings():
        schema.find(provider.place, config.schema, start_of_paths(provider).schemas)


def _check_file(provider: Any, file: str, files: dict[str, str]) -> Iterator[Mistake]:
    first = files.setdefault(file, provider.name)
    if first != provider.name:
        problem = f"database {first!r} of this container is on the same file, {file!r}"
        yield Mistake(f"{provider.place}.path", problem)


def _check_open_file(provider: Any, file: str) -> Iterator[Mistake]:
    """A mistake, if it was opened before anybody had said where its path starts."""
    engine = provider.current.engine
    is_open = "" if engine is None or engine.asked is None else os.path.realpath(engine.asked)
    if is_open not in ("", file):
        problem = (
            f"it is open already, on {is_open!r}, and {file!r} is meant; call init_app() before its"
            " first use, or give an absolute path"
        )
        yield Mistake(f"{provider.place}.path", problem)


def _told_by(ask: Callable[[], object]) -> Sequence[Mistake]:
    try:
        ask()
    except ConfigurationError as error:
        return error.mistakes
    return ()
