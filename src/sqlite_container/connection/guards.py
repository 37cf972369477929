"""What only the owner of a connection may do with it, beyond statements."""

from __future__ import annotations

import sqlite3
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import Connection

ROW_FACTORY: Any = sqlite3.Connection.row_factory
TEXT_FACTORY: Any = sqlite3.Connection.text_factory
ISOLATION_LEVEL: Any = sqlite3.Connection.isolation_level
AUTOCOMMIT: Any = getattr(sqlite3.Connection, "autocommit", None)  # since Python 3.12

_READING = "backup iterdump serialize".split()
_ALTERING = (
    "create_aggregate create_collation create_function create_window_function deserialize"
    " enable_load_extension load_extension set_progress_handler"
    " set_trace_callback setconfig setlimit"
).split()


def guard(owned: type[Connection]) -> None:
    """Put a check before the attributes and methods that sqlite3 does not check itself."""
    for descriptor in (ROW_FACTORY, TEXT_FACTORY, ISOLATION_LEVEL, AUTOCOMMIT):
        if descriptor is not None:
            setattr(owned, descriptor.__name__, _attribute(descriptor))
    for name in (*_READING, *_ALTERING):
        if hasattr(sqlite3.Connection, name):  # some are missing in some builds and versions
            setattr(owned, name, _checked(name, altering=name in _ALTERING))
    owned.set_authorizer = _set_authorizer  # type: ignore[assignment]


@wraps(sqlite3.Connection.set_authorizer)
def _set_authorizer(self: Connection, authorizer_callback: Any) -> None:
    """Keep the borrower's beside ours, which keeps a reader from becoming a writer."""
    self._check()
    self.watch.theirs = authorizer_callback
    self.watch.altered = "set_authorizer()"
    sqlite3.Connection.set_authorizer(self, authorizer_callback)


def _checked(name: str, *, altering: bool = False) -> Any:
    """A method of sqlite3's, for the owner only; it may leave the connection another one."""
    original = getattr(sqlite3.Connection, name)

    @wraps(original)
    def method(self: Connection, *args: Any, **kwargs: Any) -> Any:
        self._check()
        if altering:
            self.watch.altered = f"{name}()"
        return original(self, *args, **kwargs)

    return method


def _attribute(descriptor: Any) -> Any:
    """An attribute of sqlite3's that only the owner may set."""

    def set_(self: Connection, value: Any) -> None:
        self._enter(f"{descriptor.__name__} = {value!r}")
        self.touched = True
        try:
            descriptor.__set__(self, value)
            if descriptor is AUTOCOMMIT:
                self._autocommit = value if isinstance(value, bool) else None
        finally:
            self._after()

    return property(descriptor.__get__, set_, doc=descriptor.__doc__)
