"""Providers of a container that keep a connection for longer than a request, or take too much.

dependency-injector injects whatever it is told to: a ``Singleton`` that takes a connection works
for the first request, and refuses every other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dependency_injector import providers

from .providers import ConnectionProvider, DatabaseProvider, SQLite
from .sqlite_dict import SQLiteDict

_LONG_LIVED = (providers.BaseSingleton, providers.BaseResource)
_PER_CONTEXT = providers.ContextLocalSingleton
_PASSED_OVER = (*_LONG_LIVED, providers.Delegate, providers.Container)
"""What is looked at by itself, or gives no connection before it is called."""


def mistakes_of(container: Any) -> Iterator[str]:
    """Yield what is wrong with the providers of a container, in words."""
    names = {id(provider): name for name, provider in _named(container.providers)}
    for provider in container.traverse():
        if isinstance(provider, SQLite | SQLiteDict | DatabaseProvider | ConnectionProvider):
            continue
        what = names.get(id(provider)) or f"of {getattr(provider, 'provides', None)!r}"
        for place, value in _injections(provider):
            for problem in _problems(provider, value):
                yield f"provider {what} ({type(provider).__name__}): {place} {problem}"


def _named(members: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, provider in members.items():
        yield repr(f"{above}{name}"), provider
        if isinstance(provider, providers.Container) and not isinstance(provider, SQLiteDict):
            yield from _named(provider.providers, f"{above}{name}.")


def _injections(provider: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a provider injects, and as what."""
    kind = type(provider)  # an option of a configuration has whatever it is asked for
    for position, value in enumerate(provider.args if hasattr(kind, "args") else (), 1):
        yield f"argument {position}", value
    for name, value in (provider.kwargs if hasattr(kind, "kwargs") else {}).items():
        yield f"argument {name!r}", value
    for name, value in (provider.attributes if hasattr(kind, "attributes") else {}).items():
        yield f"attribute {name!r}", value


def _problems(provider: Any, value: Any) -> Iterator[str]:
    if isinstance(value, SQLite):
        path = value.path
        yield f"is the whole container of {path!r}; add '.connection', '.reader' or '.database'"
    elif isinstance(value, SQLiteDict):
        yield f"is the whole container of {value.path!r}; add '.provider' to take all of them"
    elif isinstance(provider, _LONG_LIVED) and not isinstance(provider, _PER_CONTEXT):
        for connection in _connections_in(value, set()):
            yield _kept_for_too_long(connection)


def _connections_in(value: object, seen: set[object]) -> Iterator[ConnectionProvider]:
    """Yield the connections that a provider is made of each time that it is called."""
    if not isinstance(value, providers.Provider) or value in seen:
        return
    seen.add(value)
    if value.last_overriding is not None:
        yield from _connections_in(value.last_overriding, seen)
    elif isinstance(value, ConnectionProvider):
        yield value
    elif not isinstance(value, _PASSED_OVER) and not providers.is_delegated(value):
        for each in value.related:
            yield from _connections_in(each, seen)


def _kept_for_too_long(connection: ConnectionProvider) -> str:
    path = repr(connection).strip("<>")
    database = path.rpartition(".")[0]
    return (
        f"is or has a connection, {path}, which goes back at the end of each request, while what"
        f" this provider makes lives on; take {database}.database, or {path}.provider and call it"
        " where a connection is needed, or make it a Factory"
    )
