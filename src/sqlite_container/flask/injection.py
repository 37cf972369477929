"""Injection per app: each app's views get what its own container provides.

dependency-injector's wiring is global: the container that was wired last provides for every
app that shares the view modules. Here each injected parameter is bound to an
:class:`AppProvider`, which looks its marker up in the container of the current app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary, ref

from dependency_injector import containers, providers, wiring
from dependency_injector.wiring import PatchedCallable, ProvidersMap
from flask.globals import _cv_app

from ..container.providers import reaches_database
from ..container.sqlite_dict import SQLiteDict

EXTENSION = "sqlite_container"
_RESOLVED = "_sqlite_container_resolved"
PROVIDE: Any = wiring.Provide
_registry = wiring._patched_registry


class AppProvider(providers.Provider[Any]):
    """What a marker means in the container of the current app.

    Outside of app contexts, and in apps that have no such provider, ``fallback`` tells it: the
    container that was wired last.
    """

    def __init__(self, marker: Any = None, fallback: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.marker = marker
        self.fallback = fallback

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:  # the same as target(), where the answer is known already: for every request
            found = _cv_app.get().app.extensions[EXTENSION].__dict__[_RESOLVED][self]
        except LookupError:
            found = None
        return self.target()() if found is None else found()

    def target(self) -> providers.Provider[Any]:
        """The provider to ask at this moment."""
        context = _cv_app.get(None)
        container = None if context is None else context.app.extensions.get(EXTENSION)
        found = self._in(container) if container is not None else None
        found = found if found is not None else self.fallback()
        if found is None:
            raise LookupError(f"the container that provided {self.marker!r} is gone")
        return cast("providers.Provider[Any]", found)

    def _in(self, container: Any) -> Any:
        known: dict[AppProvider, Any] = vars(container).setdefault(_RESOLVED, {})
        if self not in known:
            known[self] = resolve(self.marker, known_to(container))
        return known[self]


class BoundCallable(PatchedCallable):
    """What ``@inject`` made of a function, once an app has it: wiring it again changes nothing.

    Its instances are dependency-injector's own, whose class was changed.
    """

    __slots__ = ()

    def add_injection(self, kwarg: Any, injection: Any) -> None:
        if not isinstance(injection, AppProvider):
            provider, marker = injection, self.reference_injections[kwarg]
            injection = AppProvider(marker, lambda: provider)
        super().add_injection(kwarg, injection)

    def add_closing(self, kwarg: Any, injection: Any) -> None:
        if not reaches_database(injection):
            super().add_closing(kwarg, injection)

    def unwind_injections(self) -> None:
        """Some container was unwired from the module: the apps go on without it."""
        left = {
            name: injection
            for name, injection in self.injections.items()
            if isinstance(injection, AppProvider) and _fall_back_to_an_app(injection)
        }
        self.injections, self.closing = left, {}
        for name in self.reference_closing:
            if name in left:
                _close_after(self, name, left[name].fallback())


def _close_after(patched: PatchedCallable, name: str, provider: Any) -> None:
    """What dependency-injector notes for a ``Closing[...]``."""
    patched.add_closing(name, provider)
    for resource in provider.traverse(types=[providers.BaseResource]):
        patched.add_closing(str(id(resource)), resource)


_apps: WeakKeyDictionary[containers.DynamicContainer, None] = WeakKeyDictionary()
"""The containers of all apps, the newest last."""


def _fall_back_to_an_app(injection: AppProvider) -> bool:
    for container in reversed(list(_apps)):
        if resolve(injection.marker, known_to(container)) is not None:
            injection.fallback = _weakly(injection.marker, container)
            return True
    return False


class _Declared:
    """A container without what was added to the instance, which would break the map."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self.declarative_parent = container.declarative_parent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    @property
    def providers(self) -> dict[str, Any]:
        parent = self.declarative_parent or self._container
        return {k: v for k, v in self._container.providers.items() if k in parent.providers}


def known_to(container: Any) -> ProvidersMap:
    """What the markers of a container's class mean in the container."""
    return ProvidersMap(_Declared(container))


def resolve(marker: Any, known: ProvidersMap) -> providers.Provider[Any] | None:
    """The provider that a marker names, as dependency-injector resolves it."""
    provider = known.resolve_provider(marker.provider, marker.modifier)
    if isinstance(marker.provider, str) and not providers.is_provider(provider):
        provider = _by_name(marker.provider.split("."), known._container)
        if provider is not None and marker.modifier is not None:
            provider = marker.modifier.modify(provider, providers_map=known)
    if provider is None or isinstance(marker, PROVIDE):
        return provider
    return provider if isinstance(provider, providers.Delegate) else provider.provider


def _by_name(steps: list[str], found: Any) -> Any:
    """The provider that a text names, also where a database is called ``names`` or ``a.b``."""
    for taken in range(1, len(steps) + 1):
        inner = _member(found, ".".join(steps[:taken]))
        if inner is not None and taken < len(steps):
            inner = _by_name(steps[taken:], inner)
        if inner is not None:
            return inner
    return None


def _member(found: Any, name: str) -> Any:
    if isinstance(found, SQLiteDict):
        return found.declare(name)
    return getattr(found, "providers", {}).get(name)


def bind(container: containers.DynamicContainer) -> None:
    """Bind every injected function that this container provides for.

    The container is not kept alive by it: with its app it can go.
    """
    known = known_to(container)
    wired = wired_to(container)
    _apps[container] = None
    for patched in all_injected():
        for name, marker in patched.reference_injections.items():
            sure = not isinstance(marker.provider, str) and name in patched.injections
            if not sure and not wired(patched.patched):
                continue  # another container may have provided for it, or will
            if resolve(marker, known) is not None:
                patched.__class__ = BoundCallable
                patched.add_injection(name, AppProvider(marker, _weakly(marker, container)))
                _keep_open(patched)


def _keep_open(patched: PatchedCallable) -> None:
    """Let ``Closing[...]`` close no database: it would do so under every other request."""
    for name, provider in list(patched.closing.items()):
        if reaches_database(provider):
            del patched.closing[name]


def _weakly(marker: Any, container: containers.DynamicContainer) -> Callable[[], Any]:
    reference = ref(container)

    def resolve_again() -> Any:
        container = reference()
        return None if container is None else resolve(marker, known_to(container))

    return resolve_again


def wired_to(container: containers.DynamicContainer) -> Callable[[Any], bool]:
    """Whether a function stands in a module that the container was wired to."""
    wiring_of: Any = container
    modules = {module.__name__ for module in wiring_of.wired_to_modules}
    packages = tuple(package.__name__ for package in wiring_of.wired_to_packages)

    def wired(function: Any) -> bool:
        name: str = function.__module__
        return name in modules or any(f"{name}.".startswith(f"{each}.") for each in packages)

    return wired


def injected(function: Any) -> PatchedCallable | None:
    """What ``@inject`` made of a function, below whichever other decorators."""
    found = map(patched_of, layers(function))
    return next((each for each in found if each is not None), None)


def patched_of(function: Any) -> PatchedCallable | None:
    """What ``@inject`` made of just this function."""
    with suppress(TypeError):  # no key: not hashable
        return _registry.get_callable(function)
    return None


def all_injected() -> list[PatchedCallable]:
    """Every function of the process that ``@inject`` was used on."""
    return list(_registry._callables.values())


def layers(function: Any) -> Iterator[Any]:
    """A function, and those that its decorators wrap."""
    while function is not None:
        function = getattr(function, "__func__", function)
        yield function
        if isinstance(function, partial):
            function = function.func
        else:
            function = getattr(function, "__wrapped__", None)
