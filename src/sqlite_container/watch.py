"""What a statement changes on its connection that the next borrower could notice.

It is told from the statement's text. SQLite's authorizer would know for sure, but it is asked
amid compiling, without the interpreter's lock: each BEGIN and COMMIT would wait for that once
more. A wrong guess replaces a connection that could have been kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .statements import BLANK

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
_WORD = r"\b(?:(PRAGMA)|ATTACH|DETACH|TEMP|TEMPORARY)\b"
_NAME = r"""[\w$"'`\[\]]+"""
_PRAGMA = rf"(?:{BLANK}{_NAME}{BLANK}\.)?{BLANK}({_NAME}){BLANK}([=(])?"


def alterations(sql: str) -> Iterator[str]:
    """What a statement, or one of those in a script, may change; words in strings count too."""
    for match in re.finditer(_WORD, sql, re.IGNORECASE):
        if not match[1]:
            yield match[0].upper()
        elif (name := _pragma_set(sql, match.end())) is not None:
            yield f"PRAGMA {name}"


def _pragma_set(sql: str, start: int) -> str | None:
    """The pragma that is set after the word PRAGMA, or None where one is only asked for."""
    match = re.compile(_PRAGMA, re.DOTALL).match(sql, start)  # at its first use: it takes long
    if match is None:
        return "of an unknown name"
    name = match[1].strip("\"'`[]").lower()
    return name if match[2] and name not in _STATELESS_PRAGMAS else None
