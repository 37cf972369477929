"""SQLite databases as singleton resources of a dependency-injector container, for Flask."""

from typing import TYPE_CHECKING, Any

from .connection.connection import Connection
from .connection.cursor import Cursor
from .container.providers import SQLite
from .container.shutdown import shutdown
from .container.sqlite_dict import SQLiteDict
from .database.database import Database
from .errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseClosed,
    DatabaseOpenError,
    DatabaseReplaced,
    LeakWarning,
    Mistake,
    NotYourConnection,
    OutsideAppContext,
    PoolTimeout,
    ReadOnlyConnection,
    SchemaError,
    SQLiteContainerError,
    StatementInterrupted,
    StatementTimeout,
    TooManyRequests,
    TransactionError,
    TransactionLost,
    UncommittedWarning,
    UnknownDatabase,
    WiringError,
    WriteDeadlock,
)
from .pool.holders import Holder
from .process.exit import shutdown_at_exit

if TYPE_CHECKING:
    from .config import DatabaseConfig, FunctionConfig, PoolConfig

__all__ = [
    "ConfigurationError",
    "Connection",
    "Cursor",
    "Database",
    "DatabaseBusy",
    "DatabaseClosed",
    "DatabaseConfig",
    "DatabaseOpenError",
    "DatabaseReplaced",
    "FunctionConfig",
    "Holder",
    "LeakWarning",
    "Mistake",
    "NotYourConnection",
    "OutsideAppContext",
    "PoolConfig",
    "PoolTimeout",
    "ReadOnlyConnection",
    "SQLite",
    "SQLiteContainerError",
    "SQLiteDict",
    "SchemaError",
    "StatementInterrupted",
    "StatementTimeout",
    "TooManyRequests",
    "TransactionError",
    "TransactionLost",
    "UncommittedWarning",
    "UnknownDatabase",
    "WiringError",
    "WriteDeadlock",
    "shutdown",
    "shutdown_at_exit",
]


def __getattr__(name: str) -> Any:
    """Import the classes of the settings when they are asked for: see ``config``."""
    if name in ("DatabaseConfig", "FunctionConfig", "PoolConfig"):
        from . import config

        return getattr(config, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
