"""What a statement is going to do, as far as its first words tell.

A wrong guess is never a wrong result. SQLite itself keeps writers apart; a write that is taken
for a read only misses the fair queue and waits in SQLite's own way.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from functools import lru_cache
from sqlite3 import complete_statement


class Kind(enum.Enum):
    READ = enum.auto()
    """Needs no turn: SELECT, a deferred BEGIN, COMMIT, most pragmas."""
    CHANGE = enum.auto()
    """INSERT, UPDATE, DELETE or REPLACE: sqlite3 begins a transaction before it."""
    WRITE = enum.auto()
    """Any other statement that writes; on its own it is a transaction of its own."""
    BEGIN = enum.auto()
    """BEGIN IMMEDIATE or EXCLUSIVE."""


_BLANK = r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*"
_WORD = re.compile(_BLANK + r"(\w*)", re.DOTALL)
_NOTHING = re.compile(_BLANK + ";?" + _BLANK, re.DOTALL)
_CHANGES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
_WRITING_PRAGMA = re.compile(r"\b(?:user_version|application_id)\s*[=(]", re.IGNORECASE)
_READS = frozenset(
    [
        "SELECT",
        "VALUES",
        "EXPLAIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "ATTACH",
        "DETACH",
    ]
)


@lru_cache(maxsize=2048)
def kind_of(sql: str) -> Kind:
    """Classify a statement; the result for each text is kept."""
    word, rest = first_word(sql)
    match word:
        case "INSERT" | "UPDATE" | "DELETE" | "REPLACE":
            return Kind.CHANGE
        case "BEGIN":
            return Kind.BEGIN if first_word(rest)[0] in ("IMMEDIATE", "EXCLUSIVE") else Kind.READ
        case "WITH":
            return Kind.WRITE if _CHANGES.search(rest) else Kind.READ
        case "PRAGMA":
            return Kind.WRITE if _WRITING_PRAGMA.match(rest.lstrip()) else Kind.READ
    return Kind.READ if word in _READS or not word else Kind.WRITE


def first_word(sql: str) -> tuple[str, str]:
    """The first word in upper case, comments and blanks skipped, and what follows it."""
    match = _WORD.match(sql)
    if match is None or not isinstance(sql, str):
        return "", ""
    return match[1].upper(), sql[match.end() :]


def split(script: str) -> Iterator[tuple[int, str]]:
    """The statements of a script, each with the number of the line it starts on."""
    start = 0
    for end in (match.end() for match in re.finditer(";|\\Z", script)):
        statement = script[start:end]
        if complete_statement(statement) or end == len(script):
            if not _NOTHING.fullmatch(statement):
                text = statement.lstrip()
                yield script.count("\n", 0, end - len(text)) + 1, text
            start = end
