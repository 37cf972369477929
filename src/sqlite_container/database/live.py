"""Which databases of the process are open, and on which files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

D = TypeVar("D")


class LiveDatabases(Generic[D]):
    """The databases that are open; found by the names of their files without asking each."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[D, list[object]] = WeakKeyDictionary()
        self._by_name: dict[object, WeakSet[D]] = {}

    def __iter__(self) -> Iterator[D]:
        return iter(list(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def add(self, database: D, names: list[object]) -> None:
        """Add one that is open on a file with these names, such as its path and its inode."""
        self._names[database] = names
        for name in names:
            self._by_name.setdefault(name, WeakSet()).add(database)

    def discard(self, database: D) -> None:
        """Take one out that is not open any more. Safe to call twice."""
        names = self._names.pop(database, [])
        for name in names:
            self._by_name.get(name, WeakSet[D]()).discard(database)
        self.tidy(names)

    def tidy(self, names: list[object]) -> None:
        """Forget the names that no open database has."""
        for name in names:
            if not self._by_name.get(name, True):
                self._by_name.pop(name, None)

    def on(self, names: list[object]) -> set[D]:
        """Return those that are open on a file that has one of these names."""
        return {each for name in names for each in self._by_name.get(name, ())}
