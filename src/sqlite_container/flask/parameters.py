"""What stands at a parameter of a function: its default, and its annotation."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from ..connection.connection import Connection
from ..container.providers import ConnectionProvider, DatabaseProvider, SQLite
from ..container.sqlite_dict import SQLiteDict
from ..database.database import Database


class Parameter(NamedTuple):
    """One parameter; ``hint`` is its annotation, resolved where that is possible."""

    name: str
    default: Any
    annotation: Any
    hint: Any

    @property
    def markers(self) -> list[Any]:
        """The markers that ``@inject`` would see."""
        return [each for each in (self.default, *_extras(self.annotation)) if is_marker(each)]

    @property
    def is_text(self) -> bool:
        """Whether there is a marker in the annotation, but as text."""
        if not isinstance(self.annotation, str):
            return False
        return any(map(is_marker, _extras(self.hint))) or bool(_MARKER.search(self.annotation))

    @property
    def provider(self) -> str | None:
        """What of a database is the default, or in the annotation, without ``Provide[...]``."""
        for each in (self.default, *_extras(self.hint)):
            if isinstance(each, DatabaseProvider | ConnectionProvider):
                return repr(each).strip("<>")
            if isinstance(each, SQLite | SQLiteDict):
                return f"{each.path}.{'connection' if isinstance(each, SQLite) else 'provider'}"
        return None


_MARKER = re.compile(r"\bAnnotated\[.*\b(Provide|Provider|Closing)\[", re.DOTALL)


def of(function: Any) -> Iterator[Parameter]:
    """The parameters of whatever can be called, as far as they can be known.

    Its own, not those of what it wraps.
    """
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (NameError, TypeError, ValueError):
        return
    names = getattr(function, "__globals__", {})
    are_own = not _are_copied(function)
    for each in parameters:
        annotation = each.annotation if are_own else each.empty
        yield Parameter(each.name, each.default, annotation, _resolved(annotation, names))


def _are_copied(function: Any) -> bool:
    """Whether ``functools.wraps`` has put others in the place of a function's annotations."""
    wrapped = getattr(function, "__wrapped__", None)
    return wrapped is not None and _annotations(function) == _annotations(wrapped)


def _annotations(function: Any) -> object:
    return getattr(function, "__annotations__", None)


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, names, include_extras=True)["it"]
    except Exception:  # whatever the text makes Python do
        return annotation


def _extras(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def is_marker(value: object) -> bool:
    """Whether it is a ``Provide[...]``, ``Provider[...]`` or ``Closing[...]``."""
    return bool(getattr(type(value), "__IS_MARKER__", False))


def other_class(parameter: Parameter, target: Any) -> Iterator[str]:
    """A mistake, if the annotation names our other class than the provider gives."""
    what = f"parameter {parameter.name!r} is annotated"
    if isinstance(target, DatabaseProvider) and _is(parameter, Connection, sqlite3.Connection):
        yield f"{what} Connection and would receive a Database; ask for '.connection' or '.reader'"
    if isinstance(target, ConnectionProvider) and _is(parameter, Database):
        yield f"{what} Database and would receive a Connection; ask for '.database'"


def _is(parameter: Parameter, *classes: type) -> bool:
    hint = parameter.hint
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if isinstance(hint, str):
        hint = hint.rpartition(".")[2]
    return any(hint is each or hint == each.__name__ for each in classes)
