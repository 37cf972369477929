"""Applying a schema: how it is read, and that a failure leaves nothing, whenever it comes."""

import os
import sqlite3
import time
from pathlib import Path

import pytest

from common.databases import count, files, plain
from sqlite_container import Database, DatabaseOpenError, SchemaError
from sqlite_container.engine.new_file import Draft
from sqlite_container.sqlite.statements import split

DANGLING = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY);\n"
    "CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED);\n"
    "INSERT INTO b VALUES (7);\n"
)


def refused(path: Path, schema: Path) -> str:
    """The message of the SchemaError; it names the database and both files."""
    with pytest.raises(SchemaError) as caught:
        Database("notes").open({"path": str(path), "schema": str(schema)})
    message = str(caught.value)
    assert "notes" in message
    assert str(path) in message
    assert str(schema) in message
    return message


def opened(path: Path, schema: Path, table: str = "note") -> int:
    """How many rows the table has when the database was opened with the schema."""
    database = Database("notes")
    database.open({"path": str(path), "schema": str(schema)})
    try:
        return count(database, table)
    finally:
        database.close()


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("a;b", [(1, "a;"), (1, "b")]),
        ("\n\na;\n\n b\n;\n-- c;\n", [(3, "a;"), (5, "b\n;")]),
        ("/* a */ b /* c */;", [(1, "/* a */ b /* c */;")]),
        ("'a;''b;' ; c", [(1, "'a;''b;' ;"), (1, "c")]),
        ('"a;" `b;` [c;] - / d;e', [(1, '"a;" `b;` [c;] - / d;'), (1, "e")]),
        ("a -- ' ;\n; b /* ; ' */;", [(1, "a -- ' ;\n;"), (2, "b /* ; ' */;")]),
        ("a;\n'b;c", [(1, "a;"), (2, "'b;c")]),
        ("a;\n/* b;c", [(1, "a;")]),
        ("a;\n\ufeffb;", [(1, "a;"), (2, "b;")]),
        (";;\n; /**/ ;a", [(2, "a")]),
        ("create trigger a begin b; end;c", [(1, "create trigger a begin b; end;"), (1, "c")]),
        ("create trigger a begin b; c", [(1, "create trigger a begin b; c")]),
        (
            "create trigger a begin '\0'; end;c",
            [(1, "create trigger a begin '\0'; end;"), (1, "c")],
        ),
    ],
)
def test_a_script_is_split_where_sqlite_would(
    script: str, statements: list[tuple[int, str]]
) -> None:
    """Only a semicolon outside of strings, names, comments and triggers ends a statement."""
    assert list(split(script)) == statements


@pytest.mark.timing
def test_a_large_schema_is_applied_in_no_time(path: Path, schema: Path) -> None:
    """Twice the lines take about twice the time, so that a dump of megabytes can be a schema."""
    lines = [f"INSERT INTO a VALUES ({i}, '{'x' * 70}');" for i in range(40_000)]
    schema.write_text("\n".join(["CREATE TABLE a (i, t);", *lines]))
    began = time.perf_counter()
    assert opened(path, schema, "a") == 40_000
    assert time.perf_counter() - began < 5  # 0.4 s; each line counted from the start: 60 s


@pytest.mark.timing
@pytest.mark.parametrize(
    "script", ["-- ;'\n" * 20_000, "\n" * 200_000, f"SELECT '{';' * 200_000}';", ";" * 20_000]
)
def test_a_long_text_is_split_in_no_time(script: str) -> None:
    """Neither comments nor blanks nor semicolons are looked at again and again."""
    began = time.perf_counter()
    assert len(list(split(f"{script}\nSELECT 1;"))) <= 2
    assert time.perf_counter() - began < 2


def test_a_deferred_reference_to_nothing(path: Path, schema: Path) -> None:
    """What only COMMIT finds is told with the row that it is about, and leaves nothing."""
    schema.write_text(DANGLING)
    message = refused(path, schema)
    assert "FOREIGN KEY" in message
    assert "row 1 of 'b' refers to a row that 'a' does not have" in message
    assert files(path.parent) == {"schemas"}


def test_a_deferred_reference_to_nothing_in_an_empty_file(path: Path, schema: Path) -> None:
    """A file that was there stays as it was: the rehearsal commits as well."""
    schema.write_text(DANGLING)
    path.touch()
    refused(path, schema)
    assert path.read_bytes() == b""


def test_a_deferred_reference_to_nothing_in_a_database(path: Path, schema: Path) -> None:
    """A database without tables, which is not rehearsed for, stays without."""
    schema.write_text(DANGLING)
    with plain(path) as db:
        db.execute("PRAGMA user_version = 7")
        refused(path, schema)
        assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_deferred_reference_that_is_mended_in_time(path: Path, schema: Path) -> None:
    """Rows may refer to what comes later."""
    schema.write_text(f"{DANGLING}INSERT INTO a VALUES (7);")
    assert opened(path, schema, "b") == 1


def test_a_schema_that_fails_in_the_real_file_only(path: Path, schema: Path) -> None:
    """The journal mode, say, can only be refused where there is one; the file is gone again."""
    schema.write_text("\nPRAGMA journal_mode=DELETE;\nCREATE TABLE a (i);")
    message = refused(path, schema)
    assert "line 2" in message
    assert "in the settings" in message
    assert files(path.parent) == {"schemas"}


def test_a_schema_that_attaches_another_database(
    path: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ATTACH is refused before it is executed, so that no other file is made."""
    monkeypatch.chdir(path.parent)
    schema.write_text("CREATE TABLE a (i);\n-- b\nattach 'other.db' AS o; SELECT nofunc();")
    message = refused(path, schema)
    assert "line 2: ATTACH" in message
    assert files(path.parent) == {"schemas"}


REBUILD = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (parent REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (1);
{}
CREATE TABLE parent_2 (id INTEGER PRIMARY KEY, title TEXT);
INSERT INTO parent_2 SELECT id, 'x' FROM parent;
DROP TABLE parent;
ALTER TABLE parent_2 RENAME TO parent;
{}
"""


@pytest.mark.parametrize(
    "off",
    [
        "PRAGMA foreign_keys=OFF;",
        "COMMIT; PRAGMA foreign_keys = 0; BEGIN;",
        "pragma /* not */ main.\"foreign_keys\"('no') -- now\n;",
        "PRAGMA foreign_keys=OFF; PRAGMA foreign_keys=OFF;",
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_table_is_not_rebuilt_where_that_would_lose_rows(
    path: Path, schema: Path, off: str, *, exists: bool
) -> None:
    """In the middle of a schema SQLite ignores `foreign_keys=OFF`, and the children would go."""
    schema.write_text(REBUILD.format(off, "PRAGMA foreign_keys=ON;"))
    if exists:
        path.touch()
    message = refused(path, schema)
    assert "line 6: PRAGMA foreign_keys = " in message
    assert "before everything else" in message
    assert not path.exists() or not path.read_bytes()


def test_a_table_is_rebuilt_with_foreign_keys_off_from_the_start(path: Path, schema: Path) -> None:
    """At the beginning it has its effect, and what a dump ends with does no harm."""
    text = REBUILD.format("", "COMMIT;\nPRAGMA foreign_keys=ON;\nPRAGMA foreign_key_check;")
    schema.write_text(f"PRAGMA foreign_keys=OFF;\nBEGIN;\n{text}")
    assert opened(path, schema, "child") == 1


def test_what_is_so_already_may_be_said_anywhere(path: Path, schema: Path) -> None:
    """A pragma in the middle that changes nothing is no mistake."""
    schema.write_text(
        "CREATE TABLE note (t);\nPRAGMA foreign_keys = on;\nPRAGMA encoding = 'utf-8';\n"
        "PRAGMA page_size;\nPRAGMA user_version = 3;\nINSERT INTO note VALUES (1);"
    )
    assert opened(path, schema) == 1


@pytest.mark.parametrize("pragma", ["page_size = 8192", "auto_vacuum(FULL)", "encoding = UTF16"])
@pytest.mark.parametrize("after", ["", "INSERT INTO note VALUES (1);"])
def test_a_layout_that_comes_too_late_is_told(
    path: Path, schema: Path, pragma: str, after: str
) -> None:
    """How the file is laid out cannot be said after the first table."""
    schema.write_text(f"CREATE TABLE note (t);\n\nPRAGMA {pragma};\n{after}")
    message = refused(path, schema)
    assert f"line 3: PRAGMA {pragma[:8]}" in message
    assert files(path.parent) == {"schemas"}


def test_foreign_keys_that_are_switched_on_too_late(path: Path, schema: Path) -> None:
    """Rows that nobody has checked are not stored as if somebody had."""
    schema.write_text(
        "PRAGMA foreign_keys=OFF;\nCREATE TABLE a (b REFERENCES a);\n"
        "PRAGMA foreign_keys=ON;\nINSERT INTO a VALUES (7);"
    )
    assert "line 3" in refused(path, schema)


def test_a_file_that_another_process_makes_meanwhile_is_used(
    path: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives the file its name first has made it; nothing of it is lost."""
    publish = Draft.publish

    def slowly(draft: Draft) -> None:
        with plain(path) as other:
            other.execute("CREATE TABLE note (title)")
            other.execute("INSERT INTO note VALUES ('theirs')")
        publish(draft)

    monkeypatch.setattr(Draft, "publish", slowly)
    assert opened(path, schema) == 1
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_file_that_another_process_makes_meanwhile_outlives_a_failure(
    path: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the schema fails here, the file that somebody else has made is not deleted."""

    def fail(*_: object) -> None:
        path.touch()
        raise SchemaError(f"schema {str(schema)!r}: no")

    monkeypatch.setattr("sqlite_container.engine.schema.apply", fail)
    refused(path, schema)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_file_system_without_hard_links(
    path: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, the file is made in its place."""

    def link(*_: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(os, "link", link)
    assert opened(path, schema) == 0
    assert files(path.parent) == {"notes.db", "schemas"}


def deep(folder: Path, length: int, name: str) -> Path:
    """A path of so many bytes, in a folder that is made."""
    while (left := length - len(str(folder)) - len(name) - 2) > 0:
        folder /= "d" * min(left, 100)
    folder.mkdir(parents=True)
    return folder / name


@pytest.mark.parametrize("name", ["a.db", "a" * 60 + ".db"])
@pytest.mark.parametrize("length", [440, 460, 480, 500])
def test_a_path_that_is_nearly_too_long(path: Path, schema: Path, name: str, length: int) -> None:
    """Where another name beside it would be too long, the file is made in its place."""
    file = deep(path.parent, length, name)
    assert opened(file, schema) == 0
    file.unlink()
    schema.write_text("CREATE TABLE note (t); CREATE TABLE note (u);")
    refused(file, schema)
    assert files(file.parent) == set()


def test_a_path_that_is_too_long(path: Path, schema: Path) -> None:
    """SQLite only says that it is unable to open it."""
    with pytest.raises(DatabaseOpenError, match=r"too long for SQLite, it has 5\d\d bytes"):
        opened(deep(path.parent, 520, "a.db"), schema)


def test_what_is_left_of_a_deleted_database_does_not_come_back(path: Path, schema: Path) -> None:
    """The -wal of a file that was deleted belongs to no new one of the same name."""
    with plain(path) as old:
        old.execute("PRAGMA journal_mode = WAL").fetchall()
        old.execute("CREATE TABLE note (title)")
        old.execute("INSERT INTO note VALUES ('old')")
        left = Path(f"{path}-wal").read_bytes()
    path.unlink()
    Path(f"{path}-wal").write_bytes(left)
    assert opened(path, schema) == 0
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_new_file_has_the_rights_that_sqlite_gives(path: Path, schema: Path) -> None:
    """The umask decides, as for every database."""
    sqlite3.connect(path.with_name("usual.db")).close()
    opened(path, schema)
    assert path.stat().st_mode == path.with_name("usual.db").stat().st_mode
