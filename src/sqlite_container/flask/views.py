"""Wiring mistakes in an app's views, found before they reach a user.

dependency-injector passes over each of them in silence: the view receives the marker itself.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from dependency_injector import containers, providers
from dependency_injector.wiring import PatchedCallable
from flask import Flask

from ..errors import WiringError
from ..providers import ConnectionProvider, DatabaseProvider, SQLite, SQLiteDict
from . import wiring

_CURE = "put '@inject' directly above 'def', below the route"


def check(app: Flask, container: containers.DynamicContainer, *, finally_: bool) -> None:
    """Raise :class:`WiringError` with every mistake in what ``app`` calls.

    Until ``finally_``, a module that is not wired may still become so.
    """
    wiring.bind(container)
    found = [
        f"{what} ({_where(function)}): {mistake}"
        for what, function in _called_by(app)
        for mistake in _mistakes(function, container, finally_=finally_)
    ]
    if found:
        raise WiringError("\n".join(dict.fromkeys(found)))


def _called_by(app: Flask) -> Iterator[tuple[str, Any]]:
    for endpoint, function in app.view_functions.items():
        view_class = getattr(function, "view_class", None)
        if view_class is None:
            yield f"view {endpoint!r}", function
            continue
        for name in ("__init__", "dispatch_request", *map(str.lower, view_class.methods or ())):
            if name in ("get", "head", "dispatch_request", "__init__") or hasattr(view_class, name):
                method = getattr(view_class, name, None)
                if inspect.isfunction(method):
                    yield f"view {endpoint!r}, method {name}", method
    hooks = (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)
    for functions in (each for hook in hooks for each in hook.values()):
        yield from ((f"function {function.__name__!r}", function) for function in functions)
    for name, command in app.cli.commands.items():
        yield f"command {name!r}", command.callback


def _mistakes(
    function: Any, container: containers.DynamicContainer, *, finally_: bool
) -> Iterator[str]:
    patched = wiring.injected(function)
    if patched is None:
        yield from _not_injected(function)
        return
    for name, marker in patched.reference_injections.items():
        if name not in patched.injections:
            yield from _unresolved(name, marker, patched, container, finally_=finally_)
        else:
            yield from _wrong_kind(name, marker, patched, container)


def _not_injected(function: Any) -> Iterator[str]:
    innermost = list(wiring.layers(function))[-1] if function is not None else None
    for name, marker in _markers(innermost):
        why = "there is no '@inject'"
        if wiring.made_of(innermost):
            why = "'@inject' stands above the route, which was given the function without it"
        yield f"parameter {name!r} would receive {marker!r} itself, because {why}; {_CURE}"


def _markers(function: Any) -> Iterator[tuple[str, Any]]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        candidates = [parameter.default]
        if get_origin(parameter.annotation) is Annotated:
            candidates.extend(get_args(parameter.annotation)[1:])
        for candidate in candidates:
            if getattr(type(candidate), "__IS_MARKER__", False):
                yield parameter.name, candidate


def _unresolved(
    name: str,
    marker: Any,
    patched: PatchedCallable,
    container: containers.DynamicContainer,
    *,
    finally_: bool,
) -> Iterator[str]:
    function: Any = patched.patched
    if wiring.wired_to(container)(function):
        identifier = marker.provider
        yield (
            f"parameter {name!r} would receive the marker itself, because the container has no"
            f" {identifier!r}{_nearest(identifier, container)}"
        )
    elif finally_:
        yield (
            f"parameter {name!r} would receive the marker itself, because no container is wired to"
            f" module {function.__module__!r}; name it in the container's wiring_config, or call"
            " container.wire(modules=[…])"
        )


def _wrong_kind(
    name: str, marker: Any, patched: PatchedCallable, container: containers.DynamicContainer
) -> Iterator[str]:
    provider: Any = patched.injections[name]
    target = provider.target() if isinstance(provider, wiring.AppProvider) else provider
    if isinstance(target, SQLite | SQLiteDict) and not isinstance(marker, wiring.wiring.Provider):
        yield f"parameter {name!r} would receive the whole {target.path!r}; add '.connection' or '.reader'"
    if name in patched.reference_closing and _reaches_database(target):
        yield (
            f"parameter {name!r}: Closing[…] would close the database for every other request"
            " after this one; use Provide[…], the connection goes back by itself"
        )


def _reaches_database(provider: Any) -> bool:
    if isinstance(provider, ConnectionProvider | DatabaseProvider):
        return True
    return next(provider.traverse(types=[DatabaseProvider]), None) is not None


def _nearest(identifier: Any, container: containers.DynamicContainer) -> str:
    if not isinstance(identifier, str):
        return ""
    near = difflib.get_close_matches(identifier, list(_paths(container)), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _paths(container: Any) -> Iterator[str]:
    for name, provider in container.providers.items():
        yield name
        if isinstance(provider, SQLiteDict):
            members = {each: provider[each] for each in provider.names()}
        else:
            members = provider.providers if isinstance(provider, providers.Container) else {}
        for member, inner in members.items():
            yield f"{name}.{member}"
            if isinstance(inner, SQLite):
                yield from (f"{name}.{member}.{role}" for role in inner.providers)


def _where(function: Any) -> str:
    innermost = list(wiring.layers(function))[-1]
    code = getattr(innermost, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
