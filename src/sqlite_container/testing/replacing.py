"""Temporary databases for tests: same schema, same settings, and nobody reaches the real files."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

from dependency_injector import containers

from ..container.checks import check_container
from ..container.providers import DatabaseProvider
from ..container.scope import scopes
from ..container.shutdown import databases
from ..container.sqlite_dict import SQLiteDict
from ..database.database import Database, close_together, live
from ..database.for_tests import refusals, substitutes
from ..engine.engine import Engine
from ..errors import DatabaseClosed, OutsideAppContext, UnknownDatabase, did_you_mean
from .files import Place, TemporaryFolder

__all__ = ["isolated", "temporary_databases"]

_PATIENCE = 0.5
"""Seconds to wait, at the end of a block, for connections that are still out."""


@contextlib.contextmanager
def temporary_databases(
    container: containers.Container,
    *,
    only: Collection[str] | None = None,
    keep_data: bool = False,
) -> Iterator[None]:
    """Within it, every database of ``container`` is a fresh temporary one.

    It has the same schema and the same settings, and with ``keep_data`` a copy of the data;
    one that is only read (``mode: ro``) has that always, since nobody could fill it.
    ``only`` names the databases that are meant, such as ``notes``, ``tenants`` or
    ``tenants.acme``. Whoever opens one of their files in this process, or in one that is
    forked within, gets the temporary one, another container too. A database that is not used
    is not made.

    Afterwards everything is as before, closed and deleted. A thread that was started within
    and still runs is refused with :class:`DatabaseClosed`.

    Raises :class:`RuntimeError` if a connection to one of the databases is out at the start,
    and :class:`UnknownDatabase` for a name that the container does not have. Not for use in
    two threads at the same time: the files are replaced for the whole process.
    """
    check_container(container, "temporary_databases")
    names = [only] if isinstance(only, str) else only
    sandbox = _Sandbox(container, names, keep_data=keep_data)
    with contextlib.ExitStack() as stack:
        stack.callback(sandbox.folder.remove)
        stack.callback(sandbox.close)  # what another thread has opened since the first time
        stack.callback(sandbox.end)
        sandbox.begin()
        for database in sandbox.databases():
            engine = database.engine
            stack.callback(database.set_aside())
            sandbox.replace(database, engine)
        stack.callback(sandbox.close)
        stack.callback(sandbox.refuse_threads)
        stack.callback(give_back)
        yield


@contextlib.contextmanager
def isolated(container: containers.Container) -> Iterator[None]:
    """Within it, every database of ``container`` is a copy: what is written is gone afterwards.

    For suites that fill a database once. The original is not changed by anything that happens
    within, in whichever thread or request. Raises what :func:`temporary_databases` raises.
    """
    check_container(container, "isolated")
    with temporary_databases(container, keep_data=True):
        yield


def give_back() -> None:
    """Give back what an app context has borrowed that a fixture keeps open around a whole test."""
    with contextlib.suppress(OutsideAppContext):
        scope = scopes.find()
        if not scope.streaming:
            scope.release()


class _Sandbox:
    """One block: which databases are replaced, and by what."""

    def __init__(self, container: Any, only: Collection[str] | None, *, keep_data: bool) -> None:
        self._container = container
        self._only = only
        self._keep_data = keep_data
        self._threads = set(threading.enumerate())
        self._kept: list[Engine] = []
        self._places: dict[str, Place] = {}  # of the container's own databases, by their files
        _check_names(container, only or ())
        self._own = {each.current for each in self._providers()}
        self.folder = TemporaryFolder()

    def begin(self) -> None:
        """From now on, who opens one of the databases opens a temporary one."""
        _current.append(self)
        substitutes.append(self.file_for)
        _forget_threads()

    def end(self) -> None:
        """From now on, it is the database itself."""
        substitutes.remove(self.file_for)
        _current.remove(self)

    def databases(self) -> list[Database]:
        """What is to be set aside: the container's, and any that is open on their files."""
        others = [each for each in list(live) if each not in self._own]
        if others:
            self._look()
        return [*self._own, *(each for each in others if _real(each.engine) in self._places)]

    def replace(self, database: Database, engine: Engine | None) -> None:
        """Note what was set aside, and copy what is only in memory."""
        if engine is not None:
            self._kept.append(engine)
            if self._keep_data and engine.file is None:
                database.check()  # opens another one
                engine.copy_memory_to(database.engine)

    def file_for(self, database: Database, engine: Engine) -> Path | None:
        """The file that a database is to open."""
        place = self._place(database, engine)
        return engine.file if place is None else self.folder.file_for(engine, place)

    def replaces(self, database: Database, engine: Engine) -> bool:
        """Whether a database that is open outside of the block is replaced in it."""
        return engine in self._kept or self._place(database, engine) is not None

    def close(self) -> None:
        """Close what is open on temporary files, or in memory instead of another."""
        opened = [each for each in list(live) if self._is_temporary(each)]
        close_together(opened, _PATIENCE)
        for each in opened:
            each.reopen_when_used()

    def refuse_threads(self) -> None:
        """Keep the threads that were started within, and still run, from what comes after."""
        late = set(threading.enumerate()) - self._threads - {threading.current_thread()}
        if late:
            _late.append(_LateThreads(late, self))
            refusals.append(_late[-1])

    def refuse_if_over(self, database: Database, engine: Engine) -> None:
        """In a forked process: refuse to use files that the parent has deleted."""
        if self.folder.holds(engine.file):
            self.folder.check(engine)

    def _is_temporary(self, database: Database) -> bool:
        engine = database.engine
        if engine is None or engine in self._kept:
            return False
        return database in self._own if engine.file is None else self.folder.holds(engine.file)

    def _place(self, database: Database, engine: Engine) -> Place | None:
        if engine.asked is None:
            return None
        if database not in self._own and _real(engine) not in self._places:
            self._look()
        if database in self._own:
            return Place(engine.asked, self._keep_data or engine.config.read_only)
        return self._places.get(_real(engine))

    def _look(self) -> None:
        """Find the files of the container's databases; its configuration may have changed."""
        for provider in self._providers():
            config = provider.config()
            if not config.in_memory:
                file = provider.start_of_paths().data / config.path
                place = Place(file, self._keep_data or config.read_only)
                self._places[os.path.realpath(file)] = place

    def _providers(self) -> list[DatabaseProvider]:
        return [each for each in databases(self._container) if _is_meant(each, self._only)]


_current: list[_Sandbox] = []
"""The blocks that go on now, the innermost last."""


def _in_child() -> None:
    refusals.extend(sandbox.refuse_if_over for sandbox in _current)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class _LateThreads:
    """Threads that outlive their block are kept from what the block has replaced.

    In a block that begins later they are welcome: a pool of threads is started once.
    """

    def __init__(self, threads: Collection[threading.Thread], sandbox: _Sandbox) -> None:
        self._threads = WeakSet(threads)
        self._sandbox = sandbox
        self._outer = [each.folder for each in _current if each is not sandbox]

    def __call__(self, database: Database, engine: Engine) -> None:
        thread = threading.current_thread()
        if thread in self._threads and self._concerns(database, engine):
            raise DatabaseClosed(
                f"{engine.place}: thread {thread.name!r} was started within a"
                " temporary_databases() block that is over; end it there"
            )

    def is_needed(self) -> bool:
        """Whether one of the threads is still alive."""
        return any(thread.is_alive() for thread in self._threads)

    def _concerns(self, database: Database, engine: Engine) -> bool:
        file = engine.file
        is_outside = not engine.is_substituted or any(each.holds(file) for each in self._outer)
        return is_outside and self._sandbox.replaces(database, engine)


_late: list[_LateThreads] = []


def _forget_threads() -> None:
    for each in [each for each in _late if not each.is_needed()]:
        _late.remove(each)
        refusals.remove(each)


def _real(engine: Engine | None) -> str:
    return "" if engine is None or engine.asked is None else os.path.realpath(engine.asked)


def _is_meant(provider: DatabaseProvider, only: Collection[str] | None) -> bool:
    if only is None:
        return True
    overridden = [each for each in provider.overrides if isinstance(each, DatabaseProvider)]
    return any(_is_in(each.name, name) for each in (provider, *overridden) for name in only)


def _is_in(name: str, whole: str) -> bool:
    return f"{name}.".startswith(f"{whole}.")


def _check_names(container: Any, only: Collection[str]) -> None:
    known = [each.name for each in databases(container)] if only else []
    known += [each.path for each in container.traverse(types=[SQLiteDict])] if only else []
    for name in only:
        if not any(_is_in(each, name) for each in known):
            raise UnknownDatabase(f"there is no database {name!r}{did_you_mean(name, known)}")
