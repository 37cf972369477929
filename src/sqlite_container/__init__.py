"""SQLite databases as singleton resources of a dependency-injector container, for Flask."""

from .borrower import Holder
from .config import DatabaseConfig, FunctionConfig, PoolConfig
from .connection import Connection
from .cursor import Cursor
from .database import Database
from .errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseClosed,
    DatabaseOpenError,
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
    TransactionLost,
    UncommittedWarning,
    UnknownDatabase,
    WiringError,
)
from .lifecycle import shutdown, shutdown_at_exit
from .providers import SQLite, SQLiteDict

__all__ = [
    "ConfigurationError",
    "Connection",
    "Cursor",
    "Database",
    "DatabaseBusy",
    "DatabaseClosed",
    "DatabaseConfig",
    "DatabaseOpenError",
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
    "TransactionLost",
    "UncommittedWarning",
    "UnknownDatabase",
    "WiringError",
    "shutdown",
    "shutdown_at_exit",
]
