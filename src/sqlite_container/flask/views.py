"""Wiring mistakes in an app's views, found before they reach a user.

dependency-injector passes over each of them in silence: the view receives the marker itself.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import click
from dependency_injector import containers, providers
from dependency_injector.wiring import PatchedCallable
from flask import Flask
from flask.views import http_method_funcs

from ..errors import WiringError
from ..providers import SQLite, reaches_database
from ..sqlite_dict import SQLiteDict
from . import wiring

_CURE = "put '@inject' directly above 'def', below the route"


def check(app: Flask, container: containers.DynamicContainer, *, finally_: bool) -> None:
    """Raise :class:`WiringError` with every mistake in what ``app`` calls.

    Until ``finally_``, a module that is not wired may still become so.
    """
    wiring.bind(container)
    known = _Known(container, finally_=finally_)
    found = [
        f"{what} ({_where(function)}): {mistake}"
        for what, function in _called_by(app)
        for mistake in _mistakes(function, known)
    ]
    if found:
        raise WiringError("\n".join(dict.fromkeys(found)))


class _Known(NamedTuple):
    container: containers.DynamicContainer
    finally_: bool


def _called_by(app: Flask) -> Iterator[tuple[str, Any]]:
    for endpoint, function in app.view_functions.items():
        yield from _view(endpoint, function)
    for function in _hooks(app):
        yield f"function {getattr(function, '__name__', function)!r}", function
    yield from _commands(app.cli)


def _view(endpoint: str, function: Any) -> Iterator[tuple[str, Any]]:
    view_class = getattr(function, "view_class", None)
    if view_class is None:
        yield f"view {endpoint!r}", function
        return
    for name in ("__init__", "dispatch_request", *map(str.lower, http_method_funcs)):
        method = getattr(view_class, name, None)
        if inspect.isfunction(method):
            yield f"view {endpoint!r}, method {name!r}", method


def _hooks(app: Flask) -> Iterator[Any]:
    scoped: tuple[Mapping[Any, list[Any]], ...] = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
        app.template_context_processors,
    )
    yield from chain.from_iterable(chain.from_iterable(each.values() for each in scoped))
    yield from app.teardown_appcontext_funcs
    for by_code in app.error_handler_spec.values():
        yield from chain.from_iterable(handlers.values() for handlers in by_code.values())


def _commands(group: click.Group) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"command {name!r}", command.callback
        if isinstance(command, click.Group):
            yield from _commands(command)


def _mistakes(function: Any, known: _Known) -> Iterator[str]:
    patched = wiring.injected(function)
    if patched is None:
        yield from _not_injected(function)
        return
    for name, marker in patched.reference_injections.items():
        if name not in patched.injections:
            yield from _unresolved(name, marker, patched, known)
        else:
            yield from _wrong_kind(name, marker, patched)


def _not_injected(function: Any) -> Iterator[str]:
    for each in wiring.layers(function):
        for name, marker in _markers(each):
            yield (
                f"parameter {name!r} would receive {marker!r} itself, because the function was"
                f" registered without '@inject': it is missing, or stands above the route; {_CURE}"
            )


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


def _unresolved(name: str, marker: Any, patched: Any, known: _Known) -> Iterator[str]:
    function = patched.patched
    what = f"parameter {name!r} would receive the marker itself, because"
    if not wiring.wired_to(known.container)(function):
        if known.finally_:
            yield (
                f"{what} no container is wired to module {function.__module__!r}; name it in the"
                " container's wiring_config, or call container.wire(modules=[…])"
            )
    elif isinstance(marker.provider, str):
        near = _nearest(marker.provider, known.container)
        yield f"{what} the container has no {marker.provider!r}{near}"
    else:
        yield f"{what} its provider belongs to another container class than this app's"


def _wrong_kind(name: str, marker: Any, patched: PatchedCallable) -> Iterator[str]:
    provider: Any = patched.injections[name]
    target = provider.target() if isinstance(provider, wiring.AppProvider) else provider
    if isinstance(target, SQLite | SQLiteDict) and isinstance(marker, wiring.PROVIDE):
        yield (
            f"parameter {name!r} would receive the whole container of {target.path!r}; add"
            " '.connection', '.reader' or '.database'"
        )
    if name in patched.reference_closing and reaches_database(target):
        yield (
            f"parameter {name!r}: Closing[…] would close the database for every other request"
            " after this one; use Provide[…], the connection goes back by itself"
        )


def _nearest(identifier: str, container: containers.DynamicContainer) -> str:
    near = difflib.get_close_matches(identifier, list(_paths(container)), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _paths(container: containers.DynamicContainer) -> Iterator[str]:
    yield from _paths_in(container.providers)


def _paths_in(members: Mapping[str, Any]) -> Iterator[str]:
    for name, provider in members.items():
        yield name
        if isinstance(provider, SQLiteDict):
            inner: Any = {each: provider[each] for each in provider.names()}
        else:
            inner = provider.providers if isinstance(provider, providers.Container) else {}
        yield from (f"{name}.{path}" for path in _paths_in(inner))


def _where(function: Any) -> str:
    innermost = list(wiring.layers(function))[-1]
    code = getattr(innermost, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
