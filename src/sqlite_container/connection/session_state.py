"""What a borrower may change on a connection, noticed when it happens.

A connection that was changed in a way that the next borrower could notice is not repaired but
replaced. SQLite tells of most changes itself: its authorizer is asked once for each action of
a statement, when the statement is compiled. Only the kinds of statements that may change
something are watched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

_STATELESS_PRAGMAS = frozenset(
    [
        "application_id",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "foreign_key_check",
        "foreign_key_list",
        "freelist_count",
        "function_list",
        "incremental_vacuum",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "module_list",
        "optimize",
        "page_count",
        "pragma_list",
        "quick_check",
        "schema_version",
        "shrink_memory",
        "stats",
        "table_info",
        "table_list",
        "table_xinfo",
        "user_version",
        "wal_checkpoint",
    ]
)
_TEMPORARY = {
    sqlite3.SQLITE_CREATE_TEMP_INDEX: "a temporary index",
    sqlite3.SQLITE_CREATE_TEMP_TABLE: "a temporary table",
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: "a temporary trigger",
    sqlite3.SQLITE_CREATE_TEMP_VIEW: "a temporary view",
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
}


class Watch:
    """The authorizer of one connection. It allows everything and remembers what matters."""

    __slots__ = ("altered", "read_only", "theirs")

    def __init__(self) -> None:
        self.altered: str | None = None
        self.read_only = False
        self.theirs: Callable[..., int] | None = None  # the borrower's own authorizer

    def __call__(self, *action: Any) -> int:
        ours = self._note(*action)
        return ours if ours != sqlite3.SQLITE_OK or self.theirs is None else self.theirs(*action)

    def _note(
        self, action: int, first: str | None, second: str | None, database: str | None, _: object
    ) -> int:
        if action == sqlite3.SQLITE_PRAGMA:
            return self._pragma(first or "", second)
        if action in _TEMPORARY:
            self.altered = _TEMPORARY[action]
        elif database == "temp" and action == sqlite3.SQLITE_INSERT:
            self.altered = "something temporary"
        return sqlite3.SQLITE_OK

    def _pragma(self, name: str, value: str | None) -> int:
        if value is not None and name.lower() not in _STATELESS_PRAGMAS:
            self.altered = f"PRAGMA {name}"
            if self.read_only and name.lower() == "query_only":
                return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK
