"""What a forked child cannot use, because of what it inherited from its parent."""

from __future__ import annotations

from ..errors import DatabaseOpenError


class _Inheritance:
    """What is known of it in this process."""

    def __init__(self) -> None:
        self.files: set[object] = set()
        self.sqlite = False


_inherited = _Inheritance()


def distrust_file(identity: object) -> None:
    """Use a file no more: SQLite's own record of its locks was inherited, and is wrong here."""
    _inherited.files.add(identity)


def distrust_sqlite() -> None:
    """Use no database any more, because another thread was inside SQLite during the fork.

    SQLite's own locks, that of its memory among them, may be held for ever here.
    """
    _inherited.sqlite = True


def check(identity: object) -> None:
    """Raise :class:`DatabaseOpenError` for a file that this process cannot use."""
    if _inherited.sqlite:
        raise DatabaseOpenError(
            "another thread was in the middle of a statement when this process was forked, and may"
            " have left SQLite locked here for ever. Start the process by 'spawn', or fork before"
        )
    if identity is not None and identity in _inherited.files:
        raise DatabaseOpenError(
            "a connection to it was in a transaction, or had a cursor open, when this process"
            " was forked; SQLite cannot use the file safely here. End the transaction before"
            " the fork, or start the process by 'spawn'"
        )
