"""What a database's settings may say, and every mistake in them.

Imported when the first database is declared: with it comes pydantic, which takes as long to
import as everything else here together.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from os import PathLike, fsencode, fspath
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic.dataclasses import dataclass

from .errors import ConfigurationError, Mistake, did_you_mean, found

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


def _word(value: object) -> object:
    if value is False:
        return "off"  # what YAML makes of an unquoted off
    return value.lower() if isinstance(value, str) else value


def _at_most(seconds: int) -> AfterValidator:
    def check(value: float) -> float:
        if value > seconds:
            raise ValueError(
                f"times are seconds, and {seconds} is the limit here; if these are milliseconds,"
                f" write {value / 1000:g}"
            )
        return value

    return AfterValidator(check)


def _immutable(value: object, info: ValidationInfo) -> object:
    if value and info.data.get("mode", "ro") != "ro":
        raise ValueError(
            "only a database that is never written can be immutable; add mode: ro, or leave it out"
        )
    if value and info.data.get("path") == ":memory:":
        raise ValueError("only a file can be immutable, and this database is in memory")
    return value


def _path(value: object) -> object:
    text = fspath(value) if isinstance(value, PathLike) else value
    if not isinstance(text, str):
        raise ValueError("a path is expected")
    if not text.strip() or "\0" in text:
        raise ValueError("a path is expected, and this one is empty or has a NUL in it")
    if text.startswith("file:"):
        raise ValueError("a plain path is expected, not a URI; say what it opens with 'mode'")
    if text.startswith(":") and text != ":memory:":
        raise ValueError("a path is expected; the in-memory database is ':memory:'")
    if _URL.match(text):
        plain = text.partition("://")[2].removeprefix("/") or ":memory:"
        raise ValueError(f"a plain path is expected, not a URL; write {plain!r}")
    if _UNEXPANDED.search(text):
        raise ValueError(
            "'~' and variables are not expanded here; write the whole path, or expand it before"
            " with os.path.expanduser() or os.path.expandvars()"
        )
    try:
        fsencode(text)
    except UnicodeEncodeError:
        raise ValueError("a path is expected, and no file can have this name") from None
    return text


def _schema(value: object) -> object:
    if isinstance(value, str) and _SQL.search(value):
        raise ValueError(
            "the name of a file is expected, and this is SQL; write it to a file, such as"
            " 'schema.sql', and name that"
        )
    return _path(value)


_SQL = re.compile(
    r"[\n;]|^\s*(--|/\*|pragma\s|create\s+(unique|virtual|temp|table|index|trigger|view)\w*\s)",
    re.IGNORECASE,
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNEXPANDED = re.compile(r"^~([/\\]|$)|\$\{\w+\}|(^|[/\\])\$\w+[/\\]")


def _imported(value: object) -> object:
    """A callable, or what an import string such as ``sqlite3.Row`` names."""
    if not isinstance(value, str):
        return value
    module, _, attribute = value.replace(":", ".").rpartition(".")
    if not module or module.startswith("."):
        raise ValueError("an import string such as 'sqlite3.Row' is expected")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module's own code runs here
        raise ValueError(f"cannot be imported: {error}") from error


def _plain(value: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(value):
        raise ValueError("a plain function is expected, and this one is async")
    return value


def _text_factory(value: object) -> object:
    usual: dict[object, object] = {"str": str, "bytes": bytes, "bytearray": bytearray}
    return usual[value] if isinstance(value, str) and value in usual else _imported(value)


def _detect_types(value: object) -> object:
    if isinstance(value, str) and not value.isdigit():
        value = [value]
    if not isinstance(value, list | tuple):
        return _no_bool(value)
    flags = {"PARSE_DECLTYPES": sqlite3.PARSE_DECLTYPES, "PARSE_COLNAMES": sqlite3.PARSE_COLNAMES}
    if not all(isinstance(name, str) and name in flags for name in value):
        raise ValueError(f"{' and '.join(flags)} are the names to choose from")
    return sum(flags[name] for name in set(value))


_PRAGMA = re.compile(r"[A-Za-z_]+")
_OWN_SETTING = frozenset(
    [
        "busy_timeout",
        "journal_mode",
        "synchronous",
        "foreign_keys",
        "cache_size",
        "mmap_size",
        "journal_size_limit",
    ]
)


_NO_SETTING = frozenset(
    """
    collation_list compile_options data_version database_list foreign_key_check foreign_key_list
    freelist_count function_list incremental_vacuum index_info index_list index_xinfo
    integrity_check module_list optimize page_count pragma_list quick_check schema_version
    shrink_memory stats table_info table_list table_xinfo wal_checkpoint
    """.split()
)
"""Pragmas that ask something, or do something once."""


def _pragma_name(name: object) -> str:
    if not isinstance(name, str) or not _PRAGMA.fullmatch(name):
        raise ValueError("the name of a pragma is expected")
    if name.lower() in _OWN_SETTING:
        raise ValueError(
            f"this pragma is a setting of its own: write '{name.lower()}' beside 'pragmas'"
        )
    if name.lower() == "locking_mode":
        raise ValueError(
            "locking_mode: exclusive would shut out every other connection; leave it out"
        )
    if name.lower() == "query_only":
        raise ValueError("say mode: ro, or inject the reader")
    if name.lower() == "defer_foreign_keys":
        raise ValueError(
            "it lasts only until the next COMMIT; execute it in the transaction that needs it, or"
            " declare the foreign keys DEFERRABLE INITIALLY DEFERRED"
        )
    if name.lower() in _NO_SETTING:
        raise ValueError(
            "this pragma asks or does something once, and is no setting; execute it where you need"
            " its answer or its effect"
        )
    return name.lower()


Patience: TypeAlias = Annotated[float, BeforeValidator(_no_bool), Field(ge=0), _at_most(999)]
PositiveSeconds: TypeAlias = Annotated[float, BeforeValidator(_no_bool), Field(gt=0)]
Whole: TypeAlias = Annotated[int, BeforeValidator(_no_bool)]
Path: TypeAlias = Annotated[str, BeforeValidator(_path)]
SchemaFile: TypeAlias = Annotated[str, BeforeValidator(_schema)]
PragmaName: TypeAlias = Annotated[str, BeforeValidator(_pragma_name)]
Call: TypeAlias = Annotated[Callable[..., Any], BeforeValidator(_imported), AfterValidator(_plain)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PoolConfig:
    """How many connections a database may have, and how long anybody waits for one.

    The names are those of psycopg_pool, and so are the defaults, except ``max_size``. A
    ``max_streaming`` of None leaves one connection to those who do not stream.
    """

    max_size: Annotated[Whole, Field(ge=1)] = 10
    timeout: Patience = 30.0
    max_waiting: Annotated[Whole, Field(ge=0)] = 0
    max_streaming: Annotated[Whole, Field(ge=1)] | None = None
    max_lifetime: PositiveSeconds = 3600.0
    max_idle: PositiveSeconds = 600.0
    leak_threshold: PositiveSeconds | None = 60.0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FunctionConfig:
    """An SQL function written in Python."""

    call: Call
    narg: Annotated[Whole, Field(ge=-1)] = -1
    deterministic: bool = False


def _function(value: object) -> object:
    return value if isinstance(value, Mapping | FunctionConfig) else {"call": value}


Function: TypeAlias = Annotated[FunctionConfig, BeforeValidator(_function)]
TextFactory: TypeAlias = Annotated[Callable[[bytes], Any], BeforeValidator(_text_factory)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DatabaseConfig:
    """The settings of one database. Times are seconds, sizes are bytes.

    ``shutdown_timeout`` of None means 5 seconds, and 1 second under a development reloader.
    """

    path: Path
    mode: Literal["rwc", "rw", "ro"] = "rwc"
    immutable: Annotated[bool, AfterValidator(_immutable)] = False
    schema: SchemaFile | None = None
    pool: PoolConfig = PoolConfig()
    busy_timeout: Patience = 5.0
    statement_timeout: Annotated[PositiveSeconds, _at_most(3600)] | None = None
    shutdown_timeout: Patience | None = None
    journal_mode: Annotated[
        Literal["wal", "delete", "truncate", "persist", "memory", "off"], BeforeValidator(_word)
    ] = "wal"
    synchronous: Annotated[Literal["off", "normal", "full", "extra"], BeforeValidator(_word)] = (
        "normal"
    )
    foreign_keys: bool = True
    cache_size: Whole | None = None
    mmap_size: Annotated[Whole, Field(ge=0)] | None = None
    journal_size_limit: Whole = 64 * 1024 * 1024
    pragmas: dict[PragmaName, str | bool | int | float] = dataclasses.field(default_factory=dict)
    functions: dict[str, Function] = dataclasses.field(default_factory=dict)
    collations: dict[str, Call] = dataclasses.field(default_factory=dict)
    extensions: tuple[Path, ...] = ()
    on_connect: Call | None = None
    row_factory: Call | None = None
    text_factory: TextFactory | None = None
    detect_types: Annotated[Whole, BeforeValidator(_detect_types), Field(ge=0, le=3)] = 0

    @property
    def in_memory(self) -> bool:
        return self.path == ":memory:"

    @property
    def read_only(self) -> bool:
        return self.mode == "ro"


_database = TypeAdapter(DatabaseConfig)


def parse(settings: object, place: str) -> DatabaseConfig:
    """Make a :class:`DatabaseConfig` of a mapping, a path, a settings object or a config.

    Raises :class:`ConfigurationError` with every mistake and its place, which starts with
    ``place``. Opens nothing and touches no file.
    """
    if isinstance(settings, DatabaseConfig):
        return settings
    given = _as_mapping(settings)
    if given is None:
        expected = "expected a path or a mapping with a 'path' in it"
        instead = "found nothing" if settings is None else found(settings)
        raise ConfigurationError([Mistake(place, f"{expected}, {instead}")])
    try:
        return _database.validate_python(given)
    except ValidationError as error:
        raise _in_words(error, place, DatabaseConfig) from None


def extended(settings: object, more: Mapping[str, object]) -> object:
    """Return settings in which ``more`` comes before what they say; what are none, as they are."""
    if not more:
        return settings
    if isinstance(settings, DatabaseConfig):
        fields = dataclasses.fields(settings)
        return {each.name: getattr(settings, each.name) for each in fields} | dict(more)
    given = {} if settings is None else _as_mapping(settings)
    return settings if given is None else {**given, **more}


def readable(settings: object) -> tuple[str | None, str | None]:
    """The path, and the schema's, each if it can be read, whatever else is wrong."""
    if isinstance(settings, DatabaseConfig):
        return settings.path, settings.schema
    given = _as_mapping(settings) or {}
    return _or_none(_path, given.get("path")), _or_none(_schema, given.get("schema"))


def _or_none(check: Callable[[object], object], value: object) -> str | None:
    try:
        return cast(str, check(value))
    except ValueError:
        return None


def _as_mapping(settings: object) -> dict[str, object] | None:
    """Return settings as a mapping; None for what are no settings."""
    if isinstance(settings, str | PathLike):
        return {"path": settings}
    if isinstance(settings, BaseModel):
        return settings.model_dump(by_alias=True)
    return dict(settings) if isinstance(settings, Mapping) else None


def _in_words(error: ValidationError, place: str, top: Any) -> ConfigurationError:
    mistakes = [_mistake(place, detail, top) for detail in error.errors()]
    return ConfigurationError(list(dict.fromkeys(mistakes)))


def _mistake(place: str, detail: Any, top: Any) -> Mistake:
    steps: tuple[int | str, ...] = detail["loc"]
    if steps[:1] == ("pragmas",):
        steps = steps[:2]  # the third is what a pragma could have been
    where = ".".join([place, *(str(step) for step in steps if step != "[key]")])
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return Mistake(where, f"unknown setting{_nearest(steps, top)}")
    if detail["type"] in ("missing", "missing_argument"):
        return Mistake(where, "this setting is required")
    if detail["type"] == "unexpected_positional_argument":
        return Mistake(place, f"settings are given by name, as in path=…, {found(detail['input'])}")
    return Mistake(where, f"{_problem(steps, detail)}, {found(detail['input'])}")


def _problem(steps: tuple[int | str, ...], detail: Any) -> str:
    kind, words = detail["type"], detail["msg"].removeprefix("Input should be ")
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if steps[:1] == ("pragmas",) and len(steps) == 2:
        return "expected a text, a number, or true or false"
    return f"expected {_EXPECTED.get(kind, words)}"


_MAPPING, _WHOLE, _NUMBER, _SWITCH = "a mapping", "a whole number", "a number", "true or false"
_EXPECTED = {
    "dataclass_type": _MAPPING,
    "dict_type": _MAPPING,
    "tuple_type": "a list",
    "string_type": "a text",
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "callable_type": "a callable, or an import string that names one",
    "invalid_key": "a text as the name of a setting",
}
"""What pydantic says in words of Python, for those who write YAML."""


def _nearest(steps: Sequence[int | str], top: Any) -> str:
    owner = {"pool": PoolConfig, "functions": FunctionConfig}.get(str(steps[0]), top)
    if len(steps) == 1:
        owner = top
    return did_you_mean(str(steps[-1]), [field.name for field in dataclasses.fields(owner)])


def _in_own_words(settings: Any) -> None:
    """Have the class itself, too, raise :class:`ConfigurationError` for a mistake."""
    init = settings.__init__

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            init(self, *args, **kwargs)
        except ValidationError as error:
            raise _in_words(error, settings.__name__, settings) from None

    settings.__init__ = __init__


for _each in (PoolConfig, FunctionConfig, DatabaseConfig):
    _in_own_words(_each)
