"""A limit for how many of several databases are open at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic, sleep
from typing import Protocol

from ..errors import PoolTimeout

_TICK = 0.01
"""Seconds between two looks, while every one of them is in use."""


class Closable(Protocol):
    """A database, as far as the limit is concerned."""

    name: str

    @property
    def closed(self) -> bool:
        """Whether it is not open."""
        ...

    def idle_since(self) -> float | None:
        """Return when it was used last; None if it is in use, or closed."""
        ...

    def close_if_idle(self) -> bool:
        """Close it if nobody uses it, and tell whether it was."""
        ...


class OpenLimit:
    """Closes the database that nobody has used for longest, so that another one can be opened.

    ``_lock`` guards ``_places``: the databases that are open or about to be, in the order in
    which they came, and how many threads are opening each. The first ``most`` of them have room.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._places: dict[Closable, int] = {}

    def __repr__(self) -> str:
        return f"<OpenLimit of {self._most}, {len(self._places)} open>"

    @contextmanager
    def room_for(self, database: Closable, timeout: float) -> Iterator[None]:
        """Open ``database`` in this block, when there is room for it.

        Blocks for at most ``timeout`` seconds while all the others are in use; then raises
        :class:`PoolTimeout`.
        """
        deadline = monotonic() + timeout
        self._count(database, 1)
        try:
            while not self._has_room(database):
                if self._close_one():
                    continue
                if monotonic() >= deadline:
                    raise self._timed_out(database, timeout)
                sleep(_TICK)
            yield
        finally:
            self._count(database, -1)

    def forget(self) -> None:
        """Forget all in a forked child: there nothing is open, and nobody opens anything."""
        self._lock = Lock()
        self._places = {}

    def _count(self, database: Closable, opening: int) -> None:
        with self._lock:
            self._places[database] = self._places.get(database, 0) + opening

    def _has_room(self, database: Closable) -> bool:
        with self._lock:
            return self._taken().index(database) < self._most

    def _taken(self) -> list[Closable]:
        """Return what is open or about to be, and forget the rest. The caller holds the lock."""
        self._places = {
            each: opening for each, opening in self._places.items() if opening or not each.closed
        }
        return list(self._places)

    def _close_one(self) -> bool:
        """Close the one that nobody has used for longest; False if all of them are in use."""
        since = {each: each.idle_since() for each in list(self._places)}
        idle = {each: when for each, when in since.items() if when is not None}
        return any(each.close_if_idle() for each in sorted(idle, key=idle.__getitem__))

    def _timed_out(self, database: Closable, timeout: float) -> PoolTimeout:
        return PoolTimeout(
            f"database {database.name!r} cannot be opened: no more than {self._most} such databases"
            f" may be open at a time (max_open), and all of them were in use for {timeout:g} s"
            " (pool.timeout); give connections back sooner, or raise max_open"
        )
