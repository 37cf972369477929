"""The settings of a whole container, checked before anything opens."""

from __future__ import annotations

import os
from typing import Any

from . import schema
from .engine import Folders
from .errors import ConfigurationError, Mistake
from .providers import DatabaseProvider
from .sqlite_dict import SQLiteDict


def set_folders(container: Any, folders: Folders) -> None:
    """Where the relative paths of every database of a container start."""
    for provider in container.traverse(types=[SQLiteDict, DatabaseProvider]):
        provider.folders = folders


def check_settings(container: Any) -> None:
    """Raise :class:`ConfigurationError` with every mistake of every database.

    Opens no database. Schema files are read, functions and extensions are looked up.
    """
    mistakes: list[Mistake] = []
    files: dict[str, str] = {}
    for each in _in_order(container):
        try:
            _check(each, files)
        except ConfigurationError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise ConfigurationError(list(dict.fromkeys(mistakes)))


def _in_order(container: Any) -> list[Any]:
    found = container.traverse(types=[SQLiteDict, DatabaseProvider])
    return sorted(found, key=lambda each: each.path if isinstance(each, SQLiteDict) else each.name)


def _check(provider: Any, files: dict[str, str]) -> None:
    if isinstance(provider, SQLiteDict):
        provider.names()
        return
    config = provider.config()
    folders = provider.folders or Folders.current()
    schema.find(provider.place, config.schema, folders.schemas)
    if config.in_memory:
        return
    file = os.path.realpath(folders.data / config.path)
    first = files.setdefault(file, provider.name)
    if first != provider.name:
        problem = f"database {first!r} of this container is on the same file, {file!r}"
        raise ConfigurationError([Mistake(f"{provider.place}.path", problem)])
