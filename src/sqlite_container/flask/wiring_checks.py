"""Wiring mistakes in an app's views, found before they reach a user.

dependency-injector passes over each of them in silence: the view receives the marker itself.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import click
from dependency_injector import containers, providers
from dependency_injector.wiring import PatchedCallable
from flask import Flask
from flask.views import http_method_funcs

from ..container import lifetimes
from ..container.providers import SQLite, reaches_database
from ..container.sqlite_dict import SQLiteDict
from ..errors import WiringError
from . import injection, parameters
from .parameters import is_marker

_CURE = "put '@inject' directly above 'def', below the route"


def check(app: Flask, container: containers.DynamicContainer, *, finally_: bool) -> None:
    """Raise :class:`WiringError` with every mistake in what ``app`` calls.

    Until ``finally_``, a module that is not wired may still become so.
    """
    injection.bind(container)
    known = _Known(container, finally_=finally_)
    in_views = [*_mistakes_in(_called_by(app), known), *_class_attributes(app, known)]
    _raise([*in_views, *_made_once(app), *lifetimes.mistakes_of(container)])


def check_command(name: str, command: click.Command, container: Any) -> None:
    """Raise :class:`WiringError` with every mistake in a command, or a group of them."""
    injection.bind(container)
    _raise(_mistakes_in(_command(name, command), _Known(container, finally_=True)))


def _raise(found: Iterable[str]) -> None:
    if lines := list(dict.fromkeys(found)):
        raise WiringError("\n".join(lines))


class _Known(NamedTuple):
    container: containers.DynamicContainer
    finally_: bool


def _called_by(app: Flask) -> Iterator[tuple[str, Any]]:
    for endpoint, function in app.view_functions.items():
        yield from _view(endpoint, function)
    for function in _hooks(app):
        yield f"function {getattr(function, '__name__', function)!r}", function
    yield from _in_templates(app)
    for name, command in app.cli.commands.items():
        yield from _command(name, command)


def _view(endpoint: str, function: Any) -> Iterator[tuple[str, Any]]:
    yield f"view {endpoint!r}", function
    view_class = getattr(function, "view_class", None)
    for name in ("__init__", "dispatch_request", *map(str.lower, http_method_funcs)):
        method = getattr(view_class, name, None)
        if inspect.isfunction(method):
            yield f"view {endpoint!r}, method {name!r}", method
    for decorator in getattr(view_class, "decorators", ()):
        yield f"view {endpoint!r}, decorator {getattr(decorator, '__name__', '')!r}", decorator


def _hooks(app: Flask) -> Iterator[Any]:
    scoped: tuple[Mapping[Any, list[Any]], ...] = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
        app.url_default_functions,
        app.template_context_processors,
    )
    yield from chain.from_iterable(chain.from_iterable(each.values() for each in scoped))
    yield from app.teardown_appcontext_funcs
    for by_code in app.error_handler_spec.values():
        yield from chain.from_iterable(handlers.values() for handlers in by_code.values())


def _in_templates(app: Flask) -> Iterator[tuple[str, Any]]:
    environment = vars(app).get("jinja_env")  # asking the app for it would make it too early
    for kind in ("filters", "globals", "tests") if environment is not None else ():
        for name, function in getattr(environment, kind).items():
            module = getattr(function, "__module__", None) or ""
            if type(function) in _FUNCTIONS and not module.startswith("jinja2."):
                yield f"template {kind[:-1]} {name!r}", function


_FUNCTIONS = (FunctionType, MethodType, partial)


def _command(name: str, command: click.Command) -> Iterator[tuple[str, Any]]:
    yield f"command {name!r}", command.callback
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            yield from _command(inner, each)


def _mistakes_in(called: Iterable[tuple[str, Any]], known: _Known) -> Iterator[str]:
    for what, outer in called:
        for function, given in _below(outer, frozenset(), set()):
            for mistake in _mistakes(function, given, known):
                yield f"{what} ({_where(function)}): {mistake}"


_Names = frozenset[str]


def _below(function: Any, given: _Names, seen: set[int]) -> Iterator[tuple[Any, _Names]]:
    """A function, and those that its decorators keep, with the arguments that these pass on."""
    yield function, given
    for each in injection.layers(function):
        if id(each) in seen:
            return
        seen.add(id(each))
        given = given | _given_by(each)
        for kept in _kept_by(each):
            yield from _below(kept, given, seen)
        if injection.patched_of(each) is not None:
            return


def _given_by(function: Any) -> _Names:
    """The names of the arguments that a partial, or ``@inject``, adds to each call."""
    patched = injection.patched_of(function)
    added = function.keywords if isinstance(function, partial) else {}
    return frozenset(added if patched is None else patched.reference_injections)


def _kept_by(function: Any) -> Iterator[Any]:
    """What a decorator keeps, and calls; of one that is injected, what it says that it wraps."""
    patched = injection.patched_of(function)
    if patched is not None:
        says = (getattr(each, "__wrapped__", None) for each in (function, patched.original))
        yield from (each for each in says if each not in (None, patched.original))
        return
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # not filled yet
            if isinstance(cell.cell_contents, FunctionType):
                yield cell.cell_contents


def _mistakes(function: Any, given: _Names, known: _Known) -> Iterator[str]:
    patched = injection.injected(function)
    for each in injection.layers(function):
        if patched is not None and injection.patched_of(each) is patched:
            break
        yield from _not_injected(each, given, known)
        given = given | _given_by(each)
    if patched is None:
        return
    for name, marker in patched.reference_injections.items():
        if not providers.is_provider(patched.injections.get(name)):
            yield from _unresolved(name, marker, patched, known)
        else:
            yield from _wrong_kind(name, marker, patched)
    for each in parameters.of(patched.original):
        if each.name not in patched.reference_injections:
            yield from _hidden_by_wraps(each)
            yield from _passed_over(each, known)


def _hidden_by_wraps(parameter: parameters.Parameter) -> Iterator[str]:
    for each in parameter.markers:
        yield (
            f"parameter {parameter.name!r} would receive {each!r} itself, because '@inject' stands"
            " above 'functools.wraps' and reads the parameters of the function that is wrapped; put"
            " '@inject' directly above 'def', below '@wraps'"
        )


def _not_injected(function: Any, given: _Names, known: _Known) -> Iterator[str]:
    for each in parameters.of(function):
        if each.name in given:
            continue
        for marker in each.markers:
            yield (
                f"parameter {each.name!r} would receive {marker!r} itself, because the function"
                f" was registered without '@inject': it is missing, or stands above the route, or"
                f" above '@wraps'; {_CURE}"
            )
        yield from _passed_over(each, known)


def _passed_over(parameter: parameters.Parameter, known: _Known) -> Iterator[str]:
    """What ``@inject`` does not see."""
    name = parameter.name
    if parameter.provider is not None:
        declared = known.container.declarative_parent
        path = f"{getattr(declared, '__name__', 'Container')}.{parameter.provider}"
        yield f"parameter {name!r} would receive a provider itself; write Provide[{path}]"
    elif parameter.is_text and not parameter.markers:
        yield (
            f"parameter {name!r} would receive nothing: 'from __future__ import annotations' makes"
            f" a text of {parameter.annotation!r}, which dependency-injector does not read; leave"
            f" that import out of the module, or write '{name}: Connection = Provide[…]', and"
            f" {_CURE}"
        )


def _class_attributes(app: Flask, known: _Known) -> Iterator[str]:
    """Markers in the body of a view class, where nothing puts a connection in their place."""
    wired = injection.wired_to(known.container)
    for endpoint, function in app.view_functions.items():
        for each in getattr(getattr(function, "view_class", None), "__mro__", ()):
            if known.finally_ or wired(each):
                for name, value in vars(each).items():
                    if is_marker(value):
                        yield (
                            f"view {endpoint!r} ({each.__module__}.{each.__qualname__}): attribute"
                            f" {name!r} is {value!r} itself; make it a parameter of the method,"
                            " with '@inject' directly above 'def'"
                        )


def _made_once(app: Flask) -> Iterator[str]:
    """Views that are made before any request, and would get nothing of one."""
    for endpoint, function in app.view_functions.items():
        view_class = getattr(function, "view_class", None)
        if getattr(view_class, "init_every_request", True):
            continue
        patched = injection.injected(getattr(view_class, "__init__", None))
        for name in patched.reference_injections if patched is not None else ():
            yield (
                f"view {endpoint!r}: parameter {name!r} of '__init__' is injected once, before any"
                " request, because init_every_request is False; inject it into the methods that"
                " use it"
            )


def _unresolved(name: str, marker: Any, patched: Any, known: _Known) -> Iterator[str]:
    function = patched.patched
    what = f"parameter {name!r} would receive the marker itself, because"
    if not injection.wired_to(known.container)(function):
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
    target = provider.target() if isinstance(provider, injection.AppProvider) else provider
    if isinstance(target, SQLite | SQLiteDict) and isinstance(marker, injection.PROVIDE):
        yield (
            f"parameter {name!r} would receive the whole container of {target.path!r}; add"
            f" {_member_of(target)}"
        )
    if name in patched.reference_closing and reaches_database(target):
        yield (
            f"parameter {name!r}: Closing[…] would close the database for every other request"
            " after this one; use Provide[…], the connection goes back by itself"
        )
    for each in parameters.of(patched.original):
        if each.name == name:
            yield from parameters.other_class(each, target)


def _member_of(target: SQLite | SQLiteDict) -> str:
    if isinstance(target, SQLite):
        return "'.connection', '.reader' or '.database'"
    first = next(iter(target.names() if target.configured else ()), "acme")
    return f"'.provider' to receive all of them, or a database's name as in '.{first}.connection'"


def _nearest(identifier: str, container: containers.DynamicContainer) -> str:
    known = [each for each in _paths(container.providers) if each != identifier]
    near = difflib.get_close_matches(identifier, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _paths(members: Mapping[str, Any]) -> Iterator[str]:
    for name, provider in members.items():
        yield name
        if isinstance(provider, SQLiteDict):
            inner: Any = {each: provider[each] for each in provider.names()}
        else:
            inner = provider.providers if isinstance(provider, providers.Container) else {}
        yield from (f"{name}.{path}" for path in _paths(inner))


def _where(function: Any) -> str:
    innermost = list(injection.layers(function))[-1]
    code = getattr(innermost, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
