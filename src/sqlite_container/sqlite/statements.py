"""What a statement is going to do, as far as its first words tell.

A wrong guess is never a wrong result. SQLite itself keeps writers apart; a write that is taken
for a read only misses the fair queue and waits in SQLite's own way.
"""

from __future__ import annotations

import enum
import re
import string
from collections.abc import Iterator
from functools import lru_cache
from sqlite3 import complete_statement


class Kind(enum.Enum):
    READ = enum.auto()
    """Needs no turn: SELECT, a deferred BEGIN, COMMIT."""
    SETTING = enum.auto()
    """Needs none either, but may change the connection: PRAGMA, ATTACH, whatever is no word."""
    CHANGE = enum.auto()
    """INSERT, UPDATE, DELETE or REPLACE: sqlite3 begins a transaction before it."""
    WRITE = enum.auto()
    """The same after WITH: sqlite3 begins none, and on its own it is a transaction of its own."""
    SCHEMA = enum.auto()
    """Any other word: may write, and may change the connection, as CREATE TEMP TABLE does."""
    BEGIN = enum.auto()
    """BEGIN IMMEDIATE or EXCLUSIVE."""


_BLANK = r"(?:[\s;\ufeff]|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*"  # all that SQLite skips
_WORD = re.compile(_BLANK + r"(\w*)", re.DOTALL)
# What is not compiled here is compiled at its first use: importing should be quick.
_CHANGES = r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b"
_WRITING_PRAGMA = r"\b(?:user_version|application_id)\s*[=(]"
_READS = frozenset(
    [
        "SELECT",
        "VALUES",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
    ]
)
_SETTINGS = frozenset(["ATTACH", "DETACH", "EXPLAIN", ""])  # EXPLAIN PRAGMA sets some pragmas


@lru_cache(maxsize=512)
def kind_of(sql: str) -> Kind:
    """Classify a statement; the result for each text is kept."""
    word, rest = first_word(sql)
    match word:
        case "INSERT" | "UPDATE" | "DELETE" | "REPLACE":
            return Kind.CHANGE
        case "BEGIN":
            return Kind.BEGIN if first_word(rest)[0] in ("IMMEDIATE", "EXCLUSIVE") else Kind.READ
        case "WITH":
            return Kind.WRITE if re.search(_CHANGES, rest, re.IGNORECASE) else Kind.READ
        case "PRAGMA":
            writes = re.match(_WRITING_PRAGMA, rest.lstrip(), re.IGNORECASE)
            return Kind.SCHEMA if writes else Kind.SETTING
    if word in _SETTINGS:
        return Kind.SETTING
    return Kind.READ if word in _READS else Kind.SCHEMA


def first_word(sql: str) -> tuple[str, str]:
    """The first word in upper case, comments and blanks skipped, and what follows it."""
    match = _WORD.match(sql)
    if match is None or not isinstance(sql, str):
        return "", ""
    return match[1].upper(), sql[match.end() :]


_SEMICOLON = r"""'[^']*'?|"[^"]*"?|`[^`]*`?|\[[^]]*]?|--[^\n]*|/\*.*?(?:\*/|\Z)|(;|\Z)"""
"""One that is neither in a string or name nor in a comment is the group of the match."""
_GAP = string.whitespace + "\ufeff"  # the byte order mark is a blank to SQLite


def split(script: str) -> Iterator[tuple[int, str]]:
    """The statements of a script, each with the number of the line it starts on."""
    start, line = 0, 1
    for end in (match.end(1) for match in re.finditer(_SEMICOLON, script, re.DOTALL)):
        if end < 0:
            continue
        statement = script[start:end]
        text = statement.lstrip(_GAP)
        word, rest = first_word(text)
        if word == "CREATE" and end < len(script) and not _is_complete(text):
            continue  # a trigger, in which statements end as well
        if word or rest not in ("", ";"):
            yield line + statement.count("\n", 0, len(statement) - len(text)), text
        start, line = end, line + statement.count("\n")


def _is_complete(statement: str) -> bool:
    return complete_statement(statement.replace("\0", " "))  # SQLite would stop there
