"""What a database's settings may say, and what is said about mistakes in them."""

import dataclasses
import pickle
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from common.databases import Open, plain
from sqlite_container import (
    ConfigurationError,
    Database,
    DatabaseConfig,
    DatabaseOpenError,
    FunctionConfig,
    Mistake,
    PoolConfig,
    SQLiteContainerError,
)
from sqlite_container.config import parse


def mistakes(values: object, place: str = "databases.notes") -> tuple[Mistake, ...]:
    """The mistakes that are found in settings."""
    with pytest.raises(ConfigurationError) as caught:
        parse(values, place)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("values", "place", "text"),
    [
        ({}, "path", "required"),
        ({"path": ""}, "path", "empty"),
        ({"path": "  "}, "path", "empty"),
        ({"path": "a\0b"}, "path", "NUL"),
        ({"path": 3}, "path", "a path is expected, found 3"),
        ({"path": None}, "path", "a path is expected"),
        ({"path": b"x"}, "path", "a path is expected"),
        ({"path": "file:x?mode=ro"}, "path", "'mode'"),
        ({"path": ":memery:"}, "path", "':memory:'"),
        ({"path": "x", "mode": "r"}, "mode", "'rwc', 'rw' or 'ro'"),
        ({"path": "x", "immutable": True}, "immutable", "mode: ro"),
        ({"path": "x", "immutable": True, "mode": "rw"}, "immutable", "mode: ro"),
        ({"path": "x", "immutable": "perhaps", "mode": "ro"}, "immutable", "true or false"),
        ({"path": ":memory:", "immutable": True, "mode": "ro"}, "immutable", "in memory"),
        ({"path": "x", "shema": "s"}, "shema", "did you mean 'schema'?"),
        ({"path": "x", "foreign_key": 1}, "foreign_key", "did you mean 'foreign_keys'?"),
        ({"path": "x", "zzz": 1}, "zzz", "known are: "),
        ({"path": "x", "pool": {"max_szie": 1}}, "pool.max_szie", "did you mean 'max_size'?"),
        ({"path": "x", "pool": {"maxsize": 1}}, "pool.maxsize", "did you mean 'max_size'?"),
        ({"path": "x", "pool": {"max_size": 0}}, "pool.max_size", "found 0"),
        ({"path": "x", "pool": {"max_size": True}}, "pool.max_size", "a number is expected"),
        ({"path": "x", "pool": {"max_size": 1.5}}, "pool.max_size", "found 1.5"),
        ({"path": "x", "pool": {"max_waiting": -1}}, "pool.max_waiting", "found -1"),
        ({"path": "x", "pool": {"timeout": "soon"}}, "pool.timeout", "found 'soon'"),
        ({"path": "x", "pool": {"timeout": -1}}, "pool.timeout", "found -1"),
        ({"path": "x", "pool": {"max_idle": 0}}, "pool.max_idle", "found 0"),
        ({"path": "x", "pool": 5}, "pool", "found 5"),
        ({"path": "x", "pool": []}, "pool", "found []"),
        ({"path": "x", "busy_timeout": float("nan")}, "busy_timeout", "found nan"),
        ({"path": "x", "busy_timeout": float("inf")}, "busy_timeout", "found inf"),
        ({"path": "x", "busy_timeout": None}, "busy_timeout", "found None"),
        ({"path": "x", "statement_timeout": 0}, "statement_timeout", "found 0"),
        ({"path": "x", "journal_mode": "wall"}, "journal_mode", "'wal'"),
        ({"path": "x", "synchronous": 1}, "synchronous", "'normal'"),
        ({"path": "x", "foreign_keys": "maybe"}, "foreign_keys", "found 'maybe'"),
        ({"path": "x", "cache_size": "big"}, "cache_size", "found 'big'"),
        ({"path": "x", "mmap_size": -1}, "mmap_size", "found -1"),
        ({"path": "x", "pragmas": {"busy_timeout": 1}}, "pragmas.busy_timeout", "of its own"),
        ({"path": "x", "pragmas": {"Journal_Mode": "x"}}, "pragmas.Journal_Mode", "of its own"),
        ({"path": "x", "pragmas": {"query_only": 1}}, "pragmas.query_only", "mode: ro"),
        ({"path": "x", "pragmas": {"Defer_foreign_keys": 1}}, "pragmas.Defer", "next COMMIT"),
        ({"path": "x", "pragmas": {"optimize": True}}, "pragmas.optimize", "no setting"),
        ({"path": "x", "pragmas": {"wal_checkpoint": "full"}}, "pragmas.wal_", "no setting"),
        ({"path": "x", "pragmas": {"table_info": "note"}}, "pragmas.table_", "no setting"),
        ({"path": "x", "pragmas": {"a; b": 1}}, "pragmas.a; b", "name of a pragma"),
        ({"path": "x", "pragmas": {"a": [1]}}, "pragmas.a", "found [1]"),
        ({"path": "x", "pragmas": {1: 1}}, "pragmas.1", "name of a pragma"),
        ({"path": "x", "pragmas": "a"}, "pragmas", "found 'a'"),
        ({"path": "x", "functions": {"f": "nowhere.f"}}, "functions.f", "cannot be imported"),
        ({"path": "x", "functions": {"f": "math.nothing"}}, "functions.f", "cannot be imported"),
        ({"path": "x", "functions": {"f": {}}}, "functions.f.call", "required"),
        ({"path": "x", "functions": {"f": {"cal": 1}}}, "functions.f.cal", "mean 'call'?"),
        ({"path": "x", "functions": {"f": {"call": 1}}}, "functions.f.call", "callable"),
        ({"path": "x", "extensions": "spatialite"}, "extensions", "found 'spatialite'"),
        ({"path": "x", "extensions": [""]}, "extensions.0", "empty"),
        ({"path": "x", "row_factory": "Row"}, "row_factory", "'sqlite3.Row'"),
        ({"path": "x", "row_factory": "sqlite3.Rows"}, "row_factory", "cannot be imported"),
        ({"path": "x", "row_factory": ".sqlite3.Row"}, "row_factory", "import"),
        ({"path": "x", "row_factory": "..Row"}, "row_factory", "import"),
        ({"path": "x", "row_factory": "sys.path"}, "row_factory", "callable"),
        ({"path": "x", "row_factory": 5}, "row_factory", "callable"),
        ({"path": "x", "detect_types": "PARSE"}, "detect_types", "PARSE_DECLTYPES"),
        ({"path": "x", "detect_types": 9}, "detect_types", "found 9"),
        ({"path": "x", "detect_types": True}, "detect_types", "a number is expected"),
        ({"path": "x", "detect_types": [[]]}, "detect_types", "PARSE_DECLTYPES"),
        ({"path": "x", 5: 6}, "5", "expected a text as the name"),
        ({"path": "sqlite:///notes.db"}, "path", "not a URL; write 'notes.db'"),
        ({"path": "sqlite:////srv/notes.db"}, "path", "not a URL; write '/srv/notes.db'"),
        ({"path": "sqlite://"}, "path", "not a URL; write ':memory:'"),
        ({"path": "\ud800.db"}, "path", "no file can have this name"),
        ({"path": "x", "schema": "CREATE TABLE a (b)"}, "schema", "this is SQL"),
        ({"path": "x", "schema": "  create virtual table a using b(c)"}, "schema", "this is SQL"),
        ({"path": "x", "schema": "pragma user_version = 3"}, "schema", "this is SQL"),
        ({"path": "x", "schema": "-- notes\n"}, "schema", "write it to a file"),
        ({"path": "x", "schema": "a;" * 500}, "schema", "a;a;a;a…"),
        ({"path": "x", "busy_timeout": 5000}, "busy_timeout", "if these are milliseconds, write 5"),
        ({"path": "x", "busy_timeout": "1500"}, "busy_timeout", "write 1.5, found '1500'"),
        ({"path": "x", "busy_timeout": 1000}, "busy_timeout", "999 is the limit here"),
        ({"path": "x", "pool": {"timeout": 30000}}, "pool.timeout", "write 30, found 30000"),
        ({"path": "x", "shutdown_timeout": 5000}, "shutdown_timeout", "write 5, found 5000"),
        ({"path": "x", "statement_timeout": 10000}, "statement_timeout", "write 10, found 10000"),
        ({"path": "x", "synchronous": True}, "synchronous", "'normal'"),
        ({"path": "x", "journal_mode": True}, "journal_mode", "'wal'"),
        ({"path": "x", "mode": False}, "mode", "'rwc'"),
        ({"path": "x", "collations": {"c": "nowhere.f"}}, "collations.c", "cannot be imported"),
        ({"path": "x", "collations": {"c": 5}}, "collations.c", "callable"),
        ({"path": "x", "collations": [len]}, "collations", "expected a mapping"),
        ({"path": "x", "on_connect": "nowhere:f"}, "on_connect", "cannot be imported"),
        ({"path": "x", "on_connect": ["a.b"]}, "on_connect", "a callable, or an import string"),
        ({"path": "x", "text_factory": "byte"}, "text_factory", "import string"),
        ({"path": "x", "text_factory": 5}, "text_factory", "callable"),
        ({"path": "~/x.db"}, "path", "os.path.expanduser()"),
        ({"path": Path("~/x.db")}, "path", "os.path.expanduser()"),
        ({"path": "${HOME}/x.db"}, "path", "os.path.expandvars()"),
        ({"path": "data/${name}.db"}, "path", "os.path.expandvars()"),
        ({"path": "$HOME/x.db"}, "path", "os.path.expandvars()"),
        ({"path": "x", "schema": "~/x.sql"}, "schema", "os.path.expanduser()"),
        ({"path": "x", "pool": 5}, "pool", "expected a mapping, found 5"),
        ({"path": "x", "pool": None}, "pool", "expected a mapping, found None"),
        ({"path": "x", "pool": {"max_size": "a"}}, "pool.max_size", "expected a whole number"),
        ({"path": "x", "pragmas": {"a": [1]}}, "pragmas.a", "a text, a number, or true or false"),
        ({"path": "x", "pragmas": []}, "pragmas", "expected a mapping"),
        ({"path": "x", "extensions": "spatialite"}, "extensions", "expected a list"),
        ({"path": "x", "foreign_keys": "maybe"}, "foreign_keys", "expected true or false"),
        ({"path": "x", "busy_timeout": None}, "busy_timeout", "expected a number"),
        ({"path": "x", "row_factory": 5}, "row_factory", "or an import string"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(values: object, place: str, text: str) -> None:
    """Each mistake says where it stands, what was expected, and what was found there."""
    found = mistakes(values)
    expected = f"databases.notes.{place}"
    assert any(each.place.startswith(expected) and text in each.problem for each in found), found
    assert all(each.place.startswith("databases.notes") for each in found)


@pytest.mark.parametrize("values", [None, 5, b"x", ["x"], object(), True])
def test_settings_that_are_no_settings(values: object) -> None:
    """Anything but a path, a mapping, a model or a config is one mistake at the given place."""
    (mistake,) = mistakes(values, "config.x")
    assert mistake.place == "config.x"
    assert "path" in mistake.problem


@pytest.mark.parametrize(
    "path", ["a~/x.db", "~x.db", "a$b/x.db", "$x.db", "{a}.db", "C:\\x.db", "C:/x.db", "a:/b"]
)
def test_a_path_may_look_odd(path: str) -> None:
    """What no shell would expand, and is no URL, is a path."""
    assert parse(path, "n").path == path


@pytest.mark.parametrize("name", ["pragmas", "extensions", "functions", "pool"])
@pytest.mark.parametrize("value", [5, "a", [[1]], {1: [2]}, {"a": None}])
def test_no_word_of_python_is_in_a_mistake(name: str, value: object) -> None:
    """Whoever writes YAML reads of lists and mappings, not of tuples and dictionaries."""
    for mistake in mistakes({"path": "x", name: value}):
        said = mistake.problem.partition(", found ")[0]
        assert not any(word in said for word in ("tuple", "dict", "instance", "valid ", "Input"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: DatabaseConfig(path="x", busy_timout=3),  # type: ignore[call-arg]
            "DatabaseConfig.busy_timout: unknown setting; did you mean 'busy_timeout'?",
        ),
        (
            lambda: DatabaseConfig(path="x", pool={"maxsize": 3}),  # type: ignore[arg-type]
            "DatabaseConfig.pool.maxsize: unknown setting; did you mean 'max_size'?",
        ),
        (
            lambda: PoolConfig(max_sise=3),  # type: ignore[call-arg]
            "PoolConfig.max_sise: unknown setting; did you mean 'max_size'?",
        ),
        (
            lambda: FunctionConfig(call=len, nargs=3),  # type: ignore[call-arg]
            "FunctionConfig.nargs: unknown setting; did you mean 'narg'?",
        ),
        (DatabaseConfig, "DatabaseConfig.path: this setting is required"),
        (
            lambda: DatabaseConfig("x", path="y"),  # type: ignore[misc]
            "DatabaseConfig: settings are given by name, as in path=…, found 'x'",
        ),
        (
            lambda: dataclasses.replace(DatabaseConfig(path="x"), mode="w"),  # type: ignore[arg-type]
            "DatabaseConfig.mode: expected 'rwc', 'rw' or 'ro', found 'w'",
        ),
    ],
)
def test_the_classes_speak_as_the_settings_do(make: Any, said: str) -> None:
    """A mistake in a call of `DatabaseConfig` and its like is a ConfigurationError."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == said


def test_a_config_can_be_copied() -> None:
    """A config survives pickle, and keeps its equality."""
    config = DatabaseConfig(path="x", pool=PoolConfig(max_size=3))
    assert pickle.loads(pickle.dumps(config)) == config


def test_all_mistakes_are_in_one_error() -> None:
    """Five mistakes are five lines of one ConfigurationError, which is a ValueError."""
    values = {
        "mode": "x",
        "schem": 1,
        "pool": {"max_size": 0, "tiemout": 1},
        "pragmas": {"query_only": 1},
    }
    found = {each.place for each in mistakes(values, "n")}
    assert found == {
        "n.path", "n.mode", "n.schem", "n.pool.max_size", "n.pool.tiemout", "n.pragmas.query_only",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"n\.mode") as caught:
        parse(values, "n")
    assert isinstance(caught.value, SQLiteContainerError)
    assert len(str(caught.value).splitlines()) == 6
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.mistakes == caught.value.mistakes  # type: ignore[attr-defined]


def test_a_module_that_fails_is_a_mistake_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import string into a module that raises is told with its place, like any mistake."""
    (tmp_path / "broken_on_import.py").write_text("raise RuntimeError('half')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (mistake,) = mistakes({"path": "x", "row_factory": "broken_on_import.f"})
    assert mistake.place == "databases.notes.row_factory"
    assert "half" in mistake.problem


def test_text_from_the_environment_is_understood() -> None:
    """Numbers and switches may come as text, as environment variables do."""
    config = parse(
        {
            "path": "x",
            "busy_timeout": "2.5",
            "foreign_keys": "no",
            "journal_mode": "DELETE",
            "synchronous": "Full",
            "cache_size": "-2000",
            "pool": {"max_size": "3", "timeout": "1", "leak_threshold": None},
            "functions": {"f": {"call": "math:sqrt", "narg": "1", "deterministic": "true"}},
        },
        "n",
    )
    assert config.busy_timeout == 2.5
    assert config.foreign_keys is False
    assert (config.journal_mode, config.synchronous) == ("delete", "full")
    assert config.cache_size == -2000
    assert config.pool == PoolConfig(max_size=3, timeout=1.0, leak_threshold=None)
    assert config.functions["f"].narg == 1
    assert config.functions["f"].deterministic is True


def test_the_defaults_are_those_of_the_contract() -> None:
    """What is not said is as the design says."""
    config = parse("notes.db", "n")
    assert dataclasses.asdict(config) == {
        "path": "notes.db",
        "mode": "rwc",
        "immutable": False,
        "schema": None,
        "pool": {
            "max_size": 10,
            "timeout": 30.0,
            "max_waiting": 0,
            "max_streaming": None,
            "max_lifetime": 3600.0,
            "max_idle": 600.0,
            "leak_threshold": 60.0,
        },
        "busy_timeout": 5.0,
        "statement_timeout": None,
        "shutdown_timeout": None,
        "journal_mode": "wal",
        "synchronous": "normal",
        "foreign_keys": True,
        "cache_size": None,
        "mmap_size": None,
        "journal_size_limit": 64 * 1024 * 1024,
        "pragmas": {},
        "functions": {},
        "collations": {},
        "extensions": (),
        "on_connect": None,
        "row_factory": None,
        "text_factory": None,
        "detect_types": 0,
    }


class Model(BaseModel):
    """A settings object, such as pydantic-settings makes."""

    path: str = "notes.db"
    mode: str = "ro"


@pytest.mark.parametrize(
    "values",
    [
        {"path": "notes.db", "mode": "ro"},
        {"path": Path("notes.db"), "mode": "ro"},
        DatabaseConfig(path="notes.db", mode="ro"),
        Model(),
    ],
)
def test_settings_come_in_many_forms(values: object) -> None:
    """A mapping, a settings object and a config say the same."""
    assert parse(values, "n") == DatabaseConfig(path="notes.db", mode="ro")


@pytest.mark.parametrize("name", ["create.sql", "pragma.sql", "my schema.sql", "select.sql"])
def test_a_schema_file_may_have_any_name(name: str) -> None:
    """Only what is a statement is taken for one."""
    assert parse({"path": "x", "schema": name}, "n").schema == name


@pytest.mark.parametrize("name", ["synchronous", "journal_mode"])
@pytest.mark.parametrize("value", ["off", "OFF", False])
def test_off_need_not_be_quoted(name: str, value: object) -> None:
    """YAML reads an unquoted `off` as false."""
    assert getattr(parse({"path": "x", name: value}, "n"), name) == "off"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("bytes", bytes), ("str", str), ("builtins.bytearray", bytearray), (str, str), (None, None)],
)
def test_a_text_factory_may_be_a_usual_name(value: object, expected: object) -> None:
    """Those that sqlite3 itself names need no import string."""
    assert parse({"path": "x", "text_factory": value}, "n").text_factory is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        ("2", 2),
        ("PARSE_DECLTYPES", 1),
        (["PARSE_DECLTYPES", "PARSE_COLNAMES"], 3),
        (["PARSE_COLNAMES", "PARSE_COLNAMES"], 2),
    ],
)
def test_detect_types_may_be_names(value: object, expected: int) -> None:
    """The flags of sqlite3 may be given by number or by name."""
    assert parse({"path": "x", "detect_types": value}, "n").detect_types == expected


scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=3),
    st.sampled_from(["wal", "ro", "5", "-1", "true", "..a", ".a.b", "a..b", "a.b.", "sqlite3.Row"]),
)
keys: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([field.name for field in dataclasses.fields(DatabaseConfig)]),
    st.sampled_from([field.name for field in dataclasses.fields(PoolConfig)]),
    st.sampled_from(["call", "narg", "[key]", "PATH", "synchronus", ""]),
    scalars,
)
anything: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=6,
)
typical = st.fixed_dictionaries(
    {"path": st.one_of(st.just("x"), anything)},
    optional={
        "pool": st.one_of(st.dictionaries(keys, anything, max_size=4), anything),
        "pragmas": st.one_of(st.dictionaries(keys, anything, max_size=3), anything),
        "functions": st.one_of(st.dictionaries(keys, anything, max_size=3), anything),
        "detect_types": anything,
        "row_factory": anything,
        "extensions": anything,
        "schema": anything,
        "busy_timeout": anything,
    },
)


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(st.one_of(typical, st.dictionaries(keys, anything, max_size=6)), st.text(max_size=5))
def test_any_mapping_is_understood_or_refused(values: Mapping[object, object], place: str) -> None:
    """Whatever stands in a mapping: a config, or one error whose places begin with the given."""
    found: tuple[Mistake, ...] = ()
    try:
        config = parse(values, place)
    except ConfigurationError as error:
        found = error.mistakes
    else:
        assert parse(config, place) is config
        return
    assert found
    assert all(each.place.startswith(place) and each.problem for each in found)


def test_every_connection_is_as_configured(open_database: Open) -> None:
    """The defaults of the contract are set on each connection, reading or writing."""
    database = open_database()
    expected = {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "journal_size_limit": 64 * 1024 * 1024,
        "trusted_schema": 0,
        "query_only": 0,
        "locking_mode": "normal",
    }
    with database.connection() as one, database.connection() as two, database.reader() as three:
        for db, query_only in ((one, 0), (two, 0), (three, 1)):
            found = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}
            assert found == expected | {"query_only": query_only}
            assert db.isolation_level == "IMMEDIATE"
            assert db.row_factory is None


def test_what_is_configured_is_set(open_database: Open) -> None:
    """Each setting of a connection arrives in SQLite."""
    database = open_database(
        journal_mode="truncate",
        synchronous="extra",
        foreign_keys=False,
        busy_timeout=1.25,
        cache_size=-4000,
        mmap_size=1 << 20,
        journal_size_limit=1 << 16,
        row_factory="sqlite3.Row",
        detect_types=["PARSE_COLNAMES"],
        functions={"root": "math.sqrt", "two": {"call": lambda: 2, "narg": 0}},
        pragmas={
            "page_size": 8192,
            "temp_store": "memory",
            "trusted_schema": True,
            "recursive_triggers": "on",
            "secure_delete": "fast",
            "Auto_Vacuum": "incremental",
            "case_sensitive_like": True,
            "wal_autocheckpoint": "50",
            "cell_size_check": "yes",
        },
    )
    expected = {
        "journal_mode": "truncate", "synchronous": 3, "foreign_keys": 0, "busy_timeout": 1250,
        "cache_size": -4000, "mmap_size": 1 << 20, "journal_size_limit": 1 << 16,
        "page_size": 8192, "temp_store": 2, "trusted_schema": 1, "recursive_triggers": 1,
        "secure_delete": 2, "auto_vacuum": 2, "wal_autocheckpoint": 50, "cell_size_check": 1,
    }  # fmt: skip
    with database.connection() as db, database.connection() as other:
        for each in (db, other):
            found = {name: each.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}
            assert found == expected
            assert each.execute("SELECT 'a' LIKE 'A'").fetchone()[0] == 0
            row = each.execute('SELECT root(9) AS r, two() AS "t [x]"').fetchone()
            assert isinstance(row, sqlite3.Row)
            assert row["r"] == 3.0


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("encoding", "UTF-16", ("UTF-16le", "UTF-16be")),
        ("encoding", "utf8", ("UTF-8",)),
        ("encoding", "Utf-16BE", ("UTF-16be",)),
        ("encoding", "utf16le", ("UTF-16le",)),
        ("cache_spill", False, (0,)),
        ("cache_spill", "off", (0,)),
        ("cache_spill", 100_000, (100_000,)),
        ("wal_autocheckpoint", -1, (0,)),
        ("wal_autocheckpoint", "-7", (0,)),
        ("wal_autocheckpoint", "off", (0,)),
        ("application_id", "0x42", (0x42,)),
        ("application_id", "0X7fffffff", (0x7FFFFFFF,)),
        ("user_version", "-3", (-3,)),
    ],
)
def test_a_pragma_that_took_is_believed(
    open_database: Open, name: str, value: object, answer: tuple[object, ...]
) -> None:
    """SQLite answers some pragmas in other words than they were set with."""
    database = open_database(pragmas={name: value})
    with database.connection() as db, database.connection() as other:
        for each in (db, other):
            assert each.execute(f"PRAGMA {name}").fetchone()[0] in answer


@pytest.mark.parametrize("value", [True, "on", "yes", 1, 2])
def test_a_switch_that_is_answered_with_a_number_has_taken(
    open_database: Open, value: object
) -> None:
    """`cache_spill` is a switch, and SQLite answers with a number of pages."""
    with open_database(pragmas={"cache_spill": value}).connection() as db:
        assert db.execute("PRAGMA cache_spill").fetchone()[0] > 1


@pytest.mark.parametrize("value", [-1, -7])
def test_a_journal_without_a_limit(open_database: Open, value: int) -> None:
    """Every number below zero is no limit."""
    with open_database(journal_size_limit=value).connection() as db:
        assert db.execute("PRAGMA journal_size_limit").fetchone()[0] == -1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mmap_size": 1 << 44}, r"answers \d+; that is the most that this SQLite"),
        ({"pragmas": {"threads": 10_000}}, r"answers \d+; that is the most that this SQLite"),
        ({"pragmas": {"page_size": 5}}, r"answers \d+; some pragmas work only before"),
        ({"pragmas": {"encoding": "utf"}}, "unsupported encoding"),
        ({"pragmas": {"wal_autocheckpoint": "on"}}, "answers 0"),
        ({"pragmas": {"application_id": 1 << 32}}, "answers 0"),
        ({"pragmas": {"application_id": "0xyz"}}, "answers 0"),
    ],
)
def test_a_pragma_that_did_not_take_is_told(
    path: Path, settings: dict[str, object], said: str
) -> None:
    """The error has SQLite's answer, and the reason as far as it is known."""
    database = Database("notes")
    with pytest.raises(DatabaseOpenError, match=said):
        database.open({"path": str(path), **settings})
    assert not path.exists()


def test_what_the_file_says_already_is_not_written_again(open_database: Open, path: Path) -> None:
    """An `application_id` is written once: later connections need no write lock for it."""
    pragmas = {"application_id": "0x42", "user_version": 3}
    open_database(pragmas=pragmas).close()
    database = open_database(pragmas=pragmas, busy_timeout=0)
    with plain(path) as other, database.connection():
        other.execute("BEGIN IMMEDIATE")
        with database.connection() as db:
            assert db.execute("PRAGMA application_id").fetchone() == (0x42,)
    read_only = Database("reader")
    read_only.open({"path": str(path), "mode": "ro", "pragmas": pragmas})
    read_only.close()


def test_an_extension_that_is_missing_is_named(path: Path) -> None:
    """An extension that cannot be loaded is a DatabaseOpenError that names the setting."""
    with pytest.raises(DatabaseOpenError, match=r"'notes'.*extension"):
        Database("notes").open({"path": str(path), "extensions": ["/no/such/extension"]})
    assert not path.exists()


def test_settings_import_only_what_they_name() -> None:
    """Settings with import strings import what they name, and nothing else."""
    before = set(sys.modules)
    parse({"path": "x", "row_factory": "sqlite3.Row"}, "n")
    assert set(sys.modules) == before


@pytest.mark.parametrize("seconds", [0, 0.0005, 999, 1e7, 1e10, 1e300])
def test_extreme_times_are_refused_or_work(open_database: Open, seconds: float) -> None:
    """A very short or very long time is a mistake that is told, or does what it says."""
    try:
        database = open_database(busy_timeout=seconds, pool={"timeout": seconds, "max_size": 1})
    except ConfigurationError:
        return
    with database.connection() as db:
        assert db.execute("PRAGMA busy_timeout").fetchone()[0] >= min(seconds * 1000 // 1, 1e6)
