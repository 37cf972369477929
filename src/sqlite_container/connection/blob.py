"""A blob of a connection that has an owner."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from .inside import Mark, entrances

_WRITE = ("write", "__setitem__")


class Entrance(Protocol):
    """What a blob or a cursor needs of its connection: to say who is inside."""

    running: Mark | None

    def mark(self, what: str) -> Mark:
        """Make a mark for this thread."""
        ...

    def enter(self, mark: Mark) -> None:
        """Raise :class:`NotYourConnection` for whoever may not be inside now."""
        ...

    def check_block(self) -> None:
        """Raise :class:`TransactionLost` in a block whose transaction is lost."""
        ...

    def leave(self) -> None:
        """Tidy up when ``running`` has been set back."""
        ...


class Blob:
    """An ``sqlite3.Blob`` that only the owner of its connection reads and writes.

    It stands before sqlite3's own, which cannot be subclassed, and claims its class, so that
    ``isinstance(blob, sqlite3.Blob)`` is true.
    """

    __slots__ = ("__weakref__", "_connection", "handle", "writes")

    def __init__(self, connection: Entrance, handle: sqlite3.Blob, *, writes: bool) -> None:
        self._connection = connection
        self.handle = handle
        self.writes = writes

    if not TYPE_CHECKING:
        __class__ = property(lambda _: sqlite3.Blob)

    @property
    def is_open(self) -> bool:
        """Whether it can still be read."""
        try:
            return len(self.handle) >= 0
        except sqlite3.ProgrammingError:
            return False

    def finish(self) -> None:
        """Close it for its connection, when nobody is inside."""
        self.handle.close()

    def _call(self, name: str, *args: Any) -> Any:
        connection = self._connection
        mark = connection.mark(f"blob.{name.strip('_')}()")
        try:
            connection.enter(mark)
            if self.writes and name in _WRITE:
                connection.check_block()
            return getattr(self.handle, name)(*args)
        finally:
            if connection.running is mark:
                connection.running = mark[3]
            connection.leave()

    def read(self, length: int = -1, /) -> bytes:
        data: bytes = self._call("read", length)
        return data

    def write(self, data: Any, /) -> None:
        self._call("write", data)

    def tell(self) -> int:
        position: int = self._call("tell")
        return position

    def seek(self, offset: int, origin: int = 0, /) -> None:
        self._call("seek", offset, origin)

    def close(self) -> None:
        if self.is_open:  # it is not, once its connection went back
            self._call("close")

    def __len__(self) -> int:
        length: int = self._call("__len__")
        return length

    def __getitem__(self, key: Any) -> Any:
        return self._call("__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._call("__setitem__", key, value)

    def __enter__(self) -> Self:
        self._call("__enter__")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False


entrances.add(Blob._call.__code__)
