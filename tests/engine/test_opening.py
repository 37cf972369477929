"""Opening a database: what is created, what is refused, and that nothing is half made."""

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from common.databases import PATIENCE, Open, add, count, files, held_by_a_thread, plain
from sqlite_container import (
    ConfigurationError,
    Database,
    DatabaseOpenError,
    ReadOnlyConnection,
    SchemaError,
)
from sqlite_container.engine.engine import Folders
from sqlite_container.sqlite import closing as alone


def refused(settings: dict[str, object], error: type[Exception] = DatabaseOpenError) -> str:
    """The message with which opening fails; the database stays closed."""
    database = Database("notes")
    with pytest.raises(error) as caught:
        database.open(settings)
    assert database.closed
    assert "notes" in str(caught.value)
    return str(caught.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    """The folder that is missing is named, and not created."""
    message = refused({"path": str(tmp_path / "no" / "notes.db")})
    assert str(tmp_path / "no") in message
    assert "no folder" in message
    assert files(tmp_path) == set()


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    """A folder is no database."""
    assert "is a folder" in refused({"path": str(tmp_path)})


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    """A path through a file is refused as a missing folder is."""
    (tmp_path / "file").write_text("x")
    assert "folder" in refused({"path": str(tmp_path / "file" / "notes.db")})


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_database_that_must_exist(path: Path, mode: str) -> None:
    """Modes that create nothing say that there is no file."""
    assert "no such file" in refused({"path": str(path), "mode": mode})
    assert not path.exists()


@pytest.mark.parametrize("mode", ["ro", "rw", "rwc"])
def test_a_file_that_is_no_database(path: Path, mode: str) -> None:
    """Another kind of file is refused and left as it is."""
    content = b"<html>" + b"no database " * 500
    path.write_bytes(content)
    assert "not an SQLite database" in refused({"path": str(path), "mode": mode})
    assert path.read_bytes() == content
    assert files(path.parent) == {"notes.db"}


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    """What the file system cannot store is a DatabaseOpenError as well."""
    refused({"path": str(tmp_path / ("x" * 300))})


def test_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    """A file name that is not UTF-8 is opened, or refused as every other mistake is."""
    path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.db")
    database = Database("notes")
    try:
        database.open(path)
    except (ConfigurationError, DatabaseOpenError):
        return
    database.close()
    assert (tmp_path / os.fsdecode(b"caf\xe9.db")).exists()


@pytest.mark.parametrize(
    "name",
    ["100%.db", "a?b#c.db", "with space.db", "ünï-ćødé-数据.db", "%41.db", "a&b=c;d.db", "'q\".db"],
)
def test_a_path_with_special_characters(tmp_path: Path, name: str) -> None:
    """The file has the very name that was configured."""
    database = Database()
    database.open({"path": str(tmp_path / name)})
    with database.transaction() as db:
        db.execute("CREATE TABLE t (i)")
        assert name in files(tmp_path)
    database.close()
    assert files(tmp_path) == {name}
    database.open({"path": str(tmp_path / name), "mode": "ro"})
    assert count(database, "t") == 0
    database.close()


def test_relative_paths_start_in_the_folders_given(tmp_path: Path) -> None:
    """The file is looked for in one folder, the schema in several, in turn."""
    for name in ("data", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "schema.sql").write_text("CREATE TABLE t (i)")
    database = Database()
    folders = Folders(tmp_path / "data", (tmp_path / "one", tmp_path / "two"))
    database.open({"path": "notes.db", "schema": "schema.sql"}, folders)
    assert count(database, "t") == 0
    database.close()
    assert files(tmp_path / "data") == {"notes.db"}


def test_a_schema_file_that_is_missing(path: Path) -> None:
    """A schema that is not there, or no text, is a mistake in the settings, with its place."""
    message = refused({"path": str(path), "schema": "/no/schema.sql"}, ConfigurationError)
    assert message.startswith("notes.schema: ")
    (path.parent / "binary.sql").write_bytes(b"\xff\xfe\x00")
    message = refused(
        {"path": str(path), "schema": str(path.parent / "binary.sql")}, ConfigurationError
    )
    assert message.startswith("notes.schema: ")
    assert not path.exists()


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("CREATE TABLE a (i);\n\nCREATE TABLE a (i);", 3),
        ("CREATE TABLE a (i);\nINSERT INTO b VALUES (1);", 2),
        ("CREATE TABLE a (i);\n-- comment;\n  CREATE TABEL b (i);", 2),
        ("CREATE TABLE a (i);\nCREATE TABLE b (i", 2),
        ("CREATE TABLE a (i);\nROLLBACK;\nCREATE TABLE b (i);", 2),
        ("CREATE TABLE a (i);\n'half", 2),
        ("CREATE TABLE a (i);\n@@@;", 2),
        ("CREATE TABLE a (i);\nVACUUM;", 2),
    ],
)
def test_a_schema_that_fails_leaves_nothing(path: Path, script: str, line: int) -> None:
    """The error names file and line, and not even the file of the database is created."""
    file = path.parent / "schema.sql"
    file.write_text(script)
    message = refused({"path": str(path), "schema": str(file)}, SchemaError)
    assert "schema.sql" in message
    assert f"line {line}" in message
    assert files(path.parent) == {"schema.sql"}


def test_a_schema_that_fails_leaves_an_existing_file_as_it_is(path: Path, schema: Path) -> None:
    """A database without tables that existed before stays without tables."""
    with plain(path) as db:
        db.execute("PRAGMA user_version = 7")
    schema.write_text("CREATE TABLE a (i); CREATE TABLE a (i);")
    refused({"path": str(path), "schema": str(schema)}, SchemaError)
    with plain(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        assert db.execute("PRAGMA user_version").fetchone() == (7,)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_schema_that_only_fails_on_disk_leaves_nothing(path: Path, schema: Path) -> None:
    """What the rehearsal in memory cannot find leaves no database behind either."""
    schema.write_text("CREATE TABLE a (i); PRAGMA foreign_keys; CREATE TABLE b (i CHECK (f(i)));")
    database = Database("notes")
    settings = {"path": str(path), "schema": str(schema), "functions": {"f": "math.isfinite"}}
    try:
        database.open(settings)
    except SchemaError:
        assert files(path.parent) == {"schemas"}
    else:
        assert count(database, "b") == 0
        database.close()


def test_a_schema_is_applied_to_an_empty_database_only(open_database: Open, schema: Path) -> None:
    """Opened again, the database keeps its rows, whatever the schema file says by now."""
    database = open_database()
    add(database)
    database.close()
    schema.write_text("THIS IS NO SQL;")
    database.open({"path": str(schema.parent.parent / "notes.db"), "schema": str(schema)})
    assert count(database) == 1


@pytest.mark.parametrize(
    "script",
    [
        "BEGIN; CREATE TABLE a (i); COMMIT;",
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE a (i);\nCOMMIT;\n",
        "begin immediate;CREATE TABLE a (i);end transaction;",
        "-- a; comment\nCREATE TABLE a (i); /* and; one */ ;;",
        "CREATE TABLE a (i DEFAULT ';'); INSERT INTO a VALUES ('x;y'); DELETE FROM a",
        "\ufeffCREATE TABLE a (i);",
        "PRAGMA journal_mode = WAL; CREATE TABLE a (i);",
        'CREATE TABLE "a" (i);\r\n\r\n',
        "CREATE TABLE a (i); CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT ';'; END; SELECT 1;",
        "CREATE VIRTUAL TABLE s USING fts5(x); CREATE TABLE a (i);",
        "CREATE TABLE a (i); WITH n(i) AS (VALUES (1)) INSERT INTO a SELECT i FROM n WHERE 0;",
    ],
)
def test_a_schema_may_be_written_in_many_ways(path: Path, schema: Path, script: str) -> None:
    """Transactions of a dump, semicolons in triggers and strings, a byte order mark: all work."""
    schema.write_text(script, "utf-8")
    database = Database()
    database.open({"path": str(path), "schema": str(schema)})
    try:
        assert count(database, "a") == 0
    finally:
        database.close()


def test_a_trigger_of_the_schema_works(path: Path, schema: Path) -> None:
    """A trigger with several statements arrives whole."""
    schema.write_text(
        "CREATE TABLE a (i);\nCREATE TABLE log (i);\n"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n"
        "  INSERT INTO log VALUES (CASE WHEN new.i THEN 'a;b' END); -- ; END;\n"
        "  INSERT INTO log VALUES (2);\nEND;\nCREATE INDEX x ON a (i);"
    )
    database = Database()
    database.open({"path": str(path), "schema": str(schema)})
    with database.transaction() as db:
        db.execute("INSERT INTO a VALUES (1)")
    assert count(database, "log") == 2
    database.close()


def test_an_empty_schema_is_one_too(path: Path, schema: Path) -> None:
    """A schema file with nothing but comments makes an empty database."""
    schema.write_text("-- later\n")
    database = Database()
    database.open({"path": str(path), "schema": str(schema)})
    database.check()
    database.close()


def _open_with_schema(path: str, schema: str) -> int:
    database = Database("notes")
    database.open({"path": path, "schema": schema, "busy_timeout": PATIENCE})
    number = count(database, "a")
    database.close()
    return number


def test_one_of_several_processes_applies_the_schema(path: Path, schema: Path) -> None:
    """Processes that open a new database at the same moment all find it complete, once."""
    rows = "".join(f"INSERT INTO a VALUES ({i});\n" for i in range(200))
    schema.write_text(f"CREATE TABLE a (i);\n{rows}")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as processes:
        futures = [processes.submit(_open_with_schema, str(path), str(schema)) for _ in range(6)]
        assert [future.result(PATIENCE * 2) for future in futures] == [200] * 6
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_pragma_that_does_not_take(path: Path) -> None:
    """A value that SQLite ignores in silence is an error, and no file is left."""
    message = refused({"path": str(path), "pragmas": {"page_size": 1000}})
    assert "page_size" in message
    assert "did not take" in message
    assert files(path.parent) == set()


def test_a_pragma_that_comes_too_late(open_database: Open, path: Path) -> None:
    """The page size of a database that exists cannot be changed, and that is said."""
    database = open_database()
    add(database)
    database.close()
    before = path.read_bytes()
    assert "page_size" in refused({"path": str(path), "pragmas": {"page_size": 16384}})
    assert path.read_bytes() == before


def test_a_pragma_that_does_not_exist(path: Path) -> None:
    """SQLite ignores unknown pragmas; here the nearest known one is named."""
    message = refused({"path": str(path), "pragmas": {"recursive_trigers": 1}})
    assert "'recursive_triggers'" in message
    assert files(path.parent) == set()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_journal_mode_that_is_refused(path: Path, mode: str) -> None:
    """Where another connection keeps SQLite from switching, the error names the journal mode."""
    with plain(path) as other:
        other.execute(f"PRAGMA journal_mode = {'delete' if mode == 'wal' else 'wal'}").fetchall()
        other.execute("CREATE TABLE t (i)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM t").fetchall()
        message = refused({"path": str(path), "journal_mode": mode, "busy_timeout": 0.05})
        assert "journal_mode" in message
        assert mode in message


def test_a_function_that_sqlite_refuses(path: Path) -> None:
    """A function with an impossible number of arguments is a DatabaseOpenError."""
    refused({"path": str(path), "functions": {"f": {"call": "math.sqrt", "narg": 1000}}})
    assert files(path.parent) == set()


def test_a_read_only_database_leaves_no_files(open_database: Open, path: Path) -> None:
    """Reading a database in WAL mode leaves neither -wal nor -shm, and changes nothing."""
    database = open_database()
    add(database)
    database.close()
    before = path.read_bytes()
    database.open({"path": str(path), "mode": "ro"})
    assert count(database) == 1
    with database.connection() as db, pytest.raises(ReadOnlyConnection, match="mode"):
        db.execute("INSERT INTO note (title) VALUES ('x')")
    database.close()
    assert files(path.parent) == {"notes.db", "schemas"}
    assert path.read_bytes() == before


def test_a_failed_write_to_a_read_only_database_leaves_no_transaction(
    open_database: Open, path: Path
) -> None:
    """An INSERT that is refused begins nothing that would have to be rolled back and warned of."""
    database = open_database()
    database.close()
    database.open({"path": str(path), "mode": "ro"})
    for loan in (database.connection(), database.reader()):
        with loan as db:
            with pytest.raises(ReadOnlyConnection):
                db.execute("INSERT INTO note (title) VALUES ('x')")
            assert not db.in_transaction


def test_a_database_in_use_elsewhere_is_left_alone_when_it_closes(
    open_database: Open, path: Path
) -> None:
    """The -wal of a database that somebody else has open stays, and so do its rows."""
    database = open_database()
    reading = open_database(mode="ro", schema=None)
    with held_by_a_thread(database, "INSERT INTO note (title) VALUES ('open')"):
        assert count(reading) == 0
        reading.close()
        assert "notes.db-wal" in files(path.parent)
    add(database)
    assert count(database) == 1


def test_what_failed_can_be_opened_when_it_is_mended(path: Path) -> None:
    """After a failure the same object opens the database as if nothing had been."""
    database = Database("notes")
    with pytest.raises(DatabaseOpenError):
        database.open({"path": str(path), "mode": "rw"})
    with contextlib.closing(sqlite3.connect(path)):
        path.touch()
    database.open({"path": str(path), "mode": "rw"})
    database.check()
    database.close()


def test_check_finds_a_file_that_was_destroyed(open_database: Open, path: Path) -> None:
    """check() raises what is wrong with the database."""
    database = open_database(journal_mode="delete")
    database.check()
    database.close()
    with path.open("r+b") as file:
        file.write(b"x" * 100)
    assert "not an SQLite database" in refused({"path": str(path)})


NOBODY = """
    import os, sys
    from pathlib import Path
    import sqlite_container.config  # not to be found any more as nobody
    from sqlite_container import Database, DatabaseOpenError

    folder, name, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    database = Database("notes")
    try:
        mode, _, journal = mode.partition(" ")
        settings = {"path": str(folder / name), "mode": mode, "journal_mode": journal or "wal"}
        if journal == "immutable":
            settings |= {"journal_mode": "wal", "immutable": True}
        database.open(settings)
        database.check()
        if journal and mode != "ro":
            with database.transaction() as db:
                db.execute("INSERT INTO t VALUES (1)")
        database.close()
        print("opened")
    except DatabaseOpenError as error:
        print("refused:", error)
"""


def as_nobody(folder: Path, name: str, mode: str) -> str:
    """What a user without rights is told."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(NOBODY), str(folder), name, mode],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may use, with a database in it that everybody may use."""
    folder = Path(tempfile.mkdtemp(prefix="sqlite-container-test-"))
    with plain(folder / "notes.db") as db:
        db.execute("CREATE TABLE t (i)")
    folder.chmod(0o777)
    (folder / "notes.db").chmod(0o666)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "mode", "folder", "file", "answer"),
    [
        ("notes.db", "rwc", 0o777, 0o666, "opened"),
        ("new.db", "rwc", 0o777, 0o666, "opened"),
        ("new.db", "rwc", 0o755, 0o666, "no permission to create"),
        ("notes.db", "rwc", 0o777, 0o600, "no permission to read"),
        ("notes.db", "rwc", 0o777, 0o644, "no permission to write the file"),
        ("notes.db", "rw", 0o755, 0o666, "no permission to write in the folder"),
        ("notes.db", "ro", 0o755, 0o644, "opened"),
        ("notes.db", "rwc", 0o700, 0o666, "no permission"),
        ("notes.db", "ro", 0o700, 0o666, "no permission"),
        ("new.db", "rwc", 0o700, 0o666, "no permission"),
        ("notes.db", "rwc", 0o666, 0o666, "no permission"),
    ],
)
def test_permissions(  # noqa: PLR0917
    public: Path, name: str, mode: str, folder: int, file: int, answer: str
) -> None:
    """A file or folder that the user may not read or write is told in these words."""
    (public / "notes.db").chmod(file)
    public.chmod(folder)
    said = as_nobody(public, name, mode)
    assert answer in said
    public.chmod(0o755)
    assert files(public) <= {"notes.db", name if answer == "opened" else "notes.db"}


@pytest.mark.parametrize("journal", ["memory", "off"])
def test_a_database_without_a_journal_needs_no_right_to_its_folder(
    public: Path, journal: str
) -> None:
    """With the journal in memory, or none, nothing is written beside the file."""
    public.chmod(0o755)
    assert as_nobody(public, "notes.db", f"rwc {journal}") == "opened\n"
    assert "no permission to write in the folder" in as_nobody(public, "notes.db", "rwc delete")
    with plain(public / "notes.db") as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (1,)
        db.execute("PRAGMA journal_mode = WAL").fetchall()
    said = as_nobody(public, "notes.db", f"rwc {journal}")
    assert "it is in WAL mode" in said
    assert repr(str(public)) in said


@pytest.mark.parametrize("mode", ["rwc", "ro"])
def test_a_folder_above_that_may_not_be_entered(public: Path, mode: str) -> None:
    """The folder that bars the way is named, however the path comes through it."""
    barred = public / "barred"
    (barred / "inner").mkdir(parents=True)
    (public / "link").symlink_to(barred / "inner")
    barred.chmod(0o700)
    for folder in (barred / "inner", public / "link"):
        said = as_nobody(folder, "notes.db", mode)
        assert f"no permission to enter the folder {str(barred)!r}" in said


@pytest.fixture
def in_wal(public: Path) -> Iterator[Path]:
    """A folder for everybody, with a database in WAL mode that somebody has open."""
    with plain(public / "notes.db") as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("CREATE TABLE u (i)")
        yield public


@pytest.mark.parametrize(
    ("side", "rights", "mode", "answer"),
    [
        ("wal", 0o666, "rwc", "opened"),
        ("wal", 0o600, "rwc", "no permission to read and write"),
        ("wal", 0o644, "rwc", "no permission to read and write"),
        ("wal", 0o600, "ro", "no permission to read "),
        ("wal", 0o644, "ro", "opened"),
        ("shm", 0o600, "rwc", "no permission to read and write"),
        ("shm", 0o644, "rwc", "no permission to read and write"),
        ("shm", 0o600, "ro", "no permission to read "),
        ("shm", 0o644, "ro", "opened"),
    ],
)
def test_a_wal_of_somebody_else(
    in_wal: Path, side: str, rights: int, mode: str, answer: str
) -> None:
    """A -wal or -shm that the user has no right to is named, before a write fails on it."""
    for each in ("wal", "shm"):
        (in_wal / f"notes.db-{each}").chmod(rights if each == side else 0o666)
    said = as_nobody(in_wal, "notes.db", mode)
    assert answer in said
    assert answer == "opened" or repr(str(in_wal / f"notes.db-{side}")) in said


def test_reading_a_database_in_wal_mode_where_nothing_can_be_written(public: Path) -> None:
    """Even mode 'ro' needs a file beside the database then; the message says so."""
    with plain(public / "notes.db") as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
    public.chmod(0o755)
    said = as_nobody(public, "notes.db", "ro")
    assert "WAL mode" in said
    assert repr(str(public)) in said
    assert "journal_mode 'delete'" in said
    assert "'immutable: true' beside 'mode: ro'" in said
    assert as_nobody(public, "notes.db", "ro immutable") == "opened\n"
    assert files(public) == {"notes.db"}


def in_wal_mode(path: Path) -> None:
    with plain(path) as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("CREATE TABLE note (title TEXT)")
        db.execute("INSERT INTO note VALUES ('x')")


def test_an_immutable_database_leaves_no_trace(path: Path) -> None:
    """It is read by many, never written, and has no file beside it, then and afterwards."""
    in_wal_mode(path)
    database = Database("notes")
    database.open({"path": str(path), "mode": "ro", "immutable": True})
    with database.connection() as db:
        assert count(database) == 1
        assert files(path.parent) == {path.name}
        with pytest.raises(ReadOnlyConnection):
            db.execute("INSERT INTO note VALUES ('y')")
    database.close()
    assert files(path.parent) == {path.name}


@pytest.mark.parametrize("linked", [False, True])
def test_an_immutable_database_whose_rows_are_in_the_wal(path: Path, linked: bool) -> None:
    """It is refused, since they would be missing, and opens when they are in the file."""
    name = path
    if linked:
        name = path.with_name("link.db")
        name.symlink_to(path)
    settings: dict[str, object] = {"path": str(name), "mode": "ro", "immutable": True}
    in_wal_mode(path)
    with plain(path) as db:
        db.execute("INSERT INTO note VALUES ('y')")
        message = refused(settings)
        assert repr(f"{path}-wal") in message
        assert "mode 'rw'" in message
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        database = Database("notes")
        database.open(settings)
        assert count(database) == 2
        db.execute("INSERT INTO note VALUES ('z')")
        with database.reader(), pytest.raises(DatabaseOpenError, match="-wal"):
            count(database)  # each further connection looks again
        database.close()


def test_an_immutable_database_and_a_journal(path: Path) -> None:
    """A transaction that is half written is refused; what PERSIST leaves behind is no journal."""
    with plain(path) as db:
        db.execute("PRAGMA journal_mode = PERSIST").fetchall()
        db.execute("CREATE TABLE note (title TEXT)")
        settings: dict[str, object] = {"path": str(path), "mode": "ro", "immutable": True}
        assert path.with_name(f"{path.name}-journal").stat().st_size
        database = Database("notes")
        database.open(settings)
        assert count(database) == 0
        database.close()
        db.execute("PRAGMA cache_size = 1").fetchall()
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO note VALUES (?)", [("x" * 5000,)] * 20)
        assert "half written" in refused(settings)
        db.execute("ROLLBACK")


def test_a_write_to_a_read_only_database_is_no_lack_of_rights(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that would have to be written is refused in SQLite's own words."""
    with plain(path) as db:
        db.execute("CREATE TABLE t (i)")
    monkeypatch.setattr(os, "access", lambda _, right: right != os.W_OK)
    pragmas = {"user_version": 3}
    message = refused({"path": str(path), "mode": "ro", "pragmas": pragmas})
    assert "attempt to write a readonly database" in message


@pytest.mark.parametrize("mode", ["rwc", "rw", "ro"])
def test_a_symbolic_link_to_a_missing_folder(path: Path, mode: str) -> None:
    """The folder that the link leads to is the one to create."""
    missing = path.parent / "missing"
    path.symlink_to(missing / "real.db")
    message = refused({"path": str(path), "mode": mode})
    assert f"symbolic link to {str(missing / 'real.db')!r}" in message
    assert f"no folder {str(missing)!r}; create it" in message


def test_a_symbolic_link_to_a_missing_file(path: Path) -> None:
    """The file is made where the link leads."""
    (path.parent / "data").mkdir()
    path.symlink_to(path.parent / "data" / "real.db")
    database = Database()
    database.open(str(path))
    database.close()
    assert files(path.parent / "data") == {"real.db"}
    assert path.is_symlink()


def test_symbolic_links_in_a_circle(path: Path) -> None:
    """Links that lead to each other, to the file or to its folder, are told as that."""
    path.symlink_to(path.with_name("other.db"))
    path.with_name("other.db").symlink_to(path)
    assert "in a circle" in refused({"path": str(path)})
    assert "in a circle" in refused({"path": str(path / "notes.db")})


@pytest.mark.parametrize("name", ["notes.db", "new.db"])
def test_a_link_in_a_folder_that_may_not_be_written(public: Path, name: str) -> None:
    """The journal is kept beside the file itself, so the folder of the link does not matter."""
    (public / "links").mkdir(mode=0o755)
    (public / "links" / "link.db").symlink_to(public / name)
    assert as_nobody(public / "links", "link.db", "rwc") == "opened\n"


def close_beside_a_process_that_hangs(path: Path, connections: int) -> float:
    """How long closing takes while somebody else has the folder locked."""
    database = Database()
    database.open({"path": str(path), "pool": {"max_size": connections}})
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(database.connection()).execute("SELECT 1").fetchall()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        began = time.monotonic()
        database.close(timeout=1)
        return time.monotonic() - began
    finally:
        os.close(folder)


def test_a_process_that_hangs_is_waited_for_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing ten connections beside it takes no longer than closing one."""
    monkeypatch.setattr(alone, "PATIENCE", 0.5)
    assert 0.4 < close_beside_a_process_that_hangs(path, 10) < 2.5


def test_a_folder_that_can_be_locked_again_is_waited_for_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is not waited for a second time soon, but in a child, or if it was locked since."""
    monkeypatch.setattr(alone, "PATIENCE", 0.5)
    close_beside_a_process_that_hangs(path, 1)
    assert close_beside_a_process_that_hangs(path, 1) < 0.4
    with alone.one_at_a_time(path):
        pass
    assert close_beside_a_process_that_hangs(path, 1) > 0.4
    alone.forget_locks()  # as a child does
    assert close_beside_a_process_that_hangs(path, 1) > 0.4
