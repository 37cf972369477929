"""What a statement is going to do, as far as its words tell.

Nothing here asks SQLite, and nothing has SQLite ask back: a Python callback amid a statement is
a place where the exception of a signal handler is lost. Words are told from what only looks like
them: strings, quoted names and comments, as SQLite's own tokenizer does it
(https://www.sqlite.org/lang.html, https://www.sqlite.org/lang_keywords.html).

A wrong guess is never a wrong result. SQLite itself keeps writers apart; a write that is taken
for a read only misses the fair queue and waits in SQLite's own way.
"""

from __future__ import annotations

import enum
import re
import string
from collections.abc import Callable, Iterator
from sqlite3 import complete_statement


class Kind(enum.Enum):
    """What has to happen before a statement, and after it."""

    READ = enum.auto()
    """Needs no write lock: SELECT, RELEASE."""
    CONTROL = enum.auto()
    """BEGIN, COMMIT, END and ROLLBACK: not inside of a ``with db:`` block."""
    SETTING = enum.auto()
    """Needs no write lock, but may change the connection: PRAGMA, ATTACH, whatever is no word."""
    CHANGE = enum.auto()
    """INSERT, UPDATE, DELETE or REPLACE: sqlite3 begins a transaction before it."""
    WRITE = enum.auto()
    """The same after WITH: sqlite3 begins none, and on its own it is a transaction of its own."""
    SCHEMA = enum.auto()
    """Any other word: may write, and may change the connection, as CREATE TEMP TABLE does."""
    BEGIN = enum.auto()
    """BEGIN IMMEDIATE or EXCLUSIVE: a CONTROL that needs the write lock."""
    SAVEPOINT = enum.auto()
    """Needs no write lock, but begins a transaction that reads, where none is open."""


_BLANK = r"(?:[\s;\ufeff]|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*"  # all that SQLite skips
_WORD = re.compile(_BLANK + r"(\w*)", re.DOTALL)
# What is not compiled here is compiled at its first use: importing should be quick.
_QUOTED = r"""'[^']*'?|"[^"]*"?|`[^`]*`?|\[[^]]*]?"""
_NO_WORDS = rf"{_QUOTED}|--[^\n]*|/\*.*?(?:\*/|\Z)"
_CHANGES = r"\b(?:INSERT|UPDATE|DELETE|REPLACE\s+INTO)\b"
_PRAGMA = rf"(?:\w+|{_QUOTED})"
_PRAGMA_VALUE = rf"{_BLANK}(?:{_PRAGMA}{_BLANK}\.{_BLANK})?({_PRAGMA}){_BLANK}([=(]?)"
IN_THE_FILE = frozenset(["user_version", "application_id"])
"""Pragmas whose value is kept in the file, and lasts."""
_KINDS = {
    **dict.fromkeys(["INSERT", "UPDATE", "DELETE", "REPLACE"], Kind.CHANGE),
    **dict.fromkeys(["SELECT", "VALUES", "RELEASE"], Kind.READ),
    "SAVEPOINT": Kind.SAVEPOINT,
    **dict.fromkeys(["COMMIT", "END"], Kind.CONTROL),
    **dict.fromkeys(["ATTACH", "DETACH", "EXPLAIN", ""], Kind.SETTING),
}  # EXPLAIN PRAGMA sets some pragmas
_ATTACHED = rf"{_BLANK}(?:DATABASE\b)?{_BLANK}('(?:[^']|'')*'|\?\d*|[:@$]\w+){_BLANK}AS\b"
_LONG = 4096
"""Characters from which the kind of a text is not kept: texts of a megabyte would stay for ever."""
_MANY = 512
"""Texts whose kinds are kept."""


class _Kinds(dict[str, Kind]):
    """The kind of each statement; what is not long is kept, and found again without a call."""

    def __missing__(self, sql: str) -> Kind:
        kind = _kind(sql)
        if len(sql) < _LONG:
            if len(self) >= _MANY:
                self.clear()
            self[sql] = kind
        return kind


kinds = _Kinds()


def kind_of(sql: str) -> Kind:
    """Classify a statement."""
    return kinds[sql]


def _kind(sql: str) -> Kind:
    word, rest = first_word(sql)
    if word in _LOOK_CLOSER:
        return _LOOK_CLOSER[word](rest)
    return _KINDS.get(word, Kind.SCHEMA)


def _begin(rest: str) -> Kind:
    urgent = first_word(rest)[0] in ("IMMEDIATE", "EXCLUSIVE")
    return Kind.BEGIN if urgent else Kind.CONTROL


def _rollback(rest: str) -> Kind:
    word, rest = first_word(rest)
    to_savepoint = word == "TO" or (word == "TRANSACTION" and first_word(rest)[0] == "TO")
    return Kind.READ if to_savepoint else Kind.CONTROL


def _with(rest: str) -> Kind:
    return Kind.WRITE if re.search(_CHANGES, _words(rest), re.IGNORECASE) else Kind.READ


def _vacuum(rest: str) -> Kind:
    into = re.search(r"\bINTO\b", _words(rest), re.IGNORECASE)
    return Kind.SETTING if into else Kind.SCHEMA


def _pragma_kind(rest: str) -> Kind:
    name, has_value = _pragma(rest)
    return Kind.SCHEMA if has_value and name in IN_THE_FILE else Kind.SETTING


_LOOK_CLOSER: dict[str, Callable[[str], Kind]] = {
    "BEGIN": _begin,
    "PRAGMA": _pragma_kind,
    "ROLLBACK": _rollback,
    "VACUUM": _vacuum,
    "WITH": _with,
}


def _words(sql: str) -> str:
    """Return a statement without its strings, quoted names and comments."""
    return re.sub(_NO_WORDS, " ", sql, flags=re.DOTALL)


def first_word(sql: str) -> tuple[str, str]:
    """Return the first word in upper case, blanks and comments skipped, and what follows it."""
    match = _WORD.match(sql)
    if match is None or not isinstance(sql, str):
        return "", ""
    return match[1].upper(), sql[match.end() :]


# -- what changes the connection itself -------------------------------------------------

_STATELESS = frozenset(
    """
    application_id collation_list compile_options data_version database_list foreign_key_check
    foreign_key_list freelist_count function_list incremental_vacuum index_info index_list
    index_xinfo integrity_check module_list optimize page_count pragma_list quick_check
    schema_version shrink_memory stats table_info table_list table_xinfo user_version
    wal_checkpoint
    """.split()
)
"""Pragmas that leave the connection as it is, whatever value they are given."""


def setting_changed(sql: str) -> str:
    """Tell which setting of the connection a statement changes; "" if it changes none."""
    word, rest = first_word(sql)
    if word == "EXPLAIN":
        return setting_changed(_without_query_plan(rest))
    if word in ("ATTACH", "DETACH"):
        return word
    if word != "PRAGMA":
        return ""
    name, has_value = _pragma(rest)
    return f"PRAGMA {name}" if has_value and name not in _STATELESS else ""


def pragma_set(sql: str) -> tuple[str, str]:
    """Return the pragma that a statement sets, and its value as it is written; ("", "") if none."""
    word, rest = first_word(sql)
    match = re.match(_PRAGMA_VALUE, rest, re.DOTALL) if word == "PRAGMA" else None
    if match is None or not match[2]:
        return "", ""
    value = re.match(rf"{_BLANK}({_QUOTED}|[-+\w.]+)", rest[match.end() :], re.DOTALL)
    return _bare(match[1]).lower(), _bare(value[1]) if value else ""


def _bare(name: str) -> str:
    return name.strip("'\"`[]")


def may_be_temporary(sql: str) -> bool:
    """Tell whether a statement may create a temporary table, index, trigger or view."""
    return "temp" in sql.lower()


def writes_a_copy(sql: str) -> bool:
    """Tell whether a statement is VACUUM INTO, which makes a file."""
    return first_word(sql)[0] == "VACUUM" and kind_of(sql) is Kind.SETTING


def attached_file(sql: str) -> str | None:
    """Return the expression that names the file of an ATTACH.

    None if it is no ATTACH; "NULL" if the expression is more than a text or a parameter.
    """
    word, rest = first_word(sql)
    if word != "ATTACH":
        return None
    match = re.match(_ATTACHED, rest, re.IGNORECASE | re.DOTALL)
    return match[1] if match else "NULL"


def _without_query_plan(rest: str) -> str:
    word, after = first_word(rest)
    return first_word(after)[1] if word == "QUERY" else rest


def _pragma(rest: str) -> tuple[str, bool]:
    """Return the name of a pragma, in lower case, and whether a value is given for it."""
    match = re.match(_PRAGMA_VALUE, rest, re.DOTALL)
    if match is None:
        return "", True
    return _bare(match[1]).lower(), bool(match[2])


# -- scripts ----------------------------------------------------------------------------

_SEMICOLON = rf"{_NO_WORDS}|(;|\Z)"
"""One that is neither in a string or name nor in a comment is the group of the match."""
_GAP = string.whitespace + "\ufeff"  # the byte order mark is a blank to SQLite


def split(script: str) -> Iterator[tuple[int, str]]:
    """Yield the statements of a script, each with the number of the line it starts on."""
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


def shorten(sql: str, width: int = 80) -> str:
    """Return a statement on one line, cut where it gets long. It never has parameters in it."""
    text = " ".join(sql.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"
