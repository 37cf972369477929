"""Injection per app: each app's views get what its own container provides.

dependency-injector's wiring is global: the last container that was wired provides for every
app that shares the view modules. Here each injected parameter is bound to an
:class:`AppProvider`, which looks its marker up in the container of the current app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast
from weakref import ref

from dependency_injector import containers, providers, wiring
from dependency_injector.wiring import PatchedCallable, ProvidersMap
from flask.globals import _cv_app

from ..providers import ConnectionProvider, SQLiteDict

_registry = wiring._patched_registry
_RESOLVED = "_sqlite_container_resolved"


class AppProvider(providers.Provider[Any]):
    """What a marker means in the container of the current app.

    Outside of app contexts, and in apps that have no such provider, it is what the marker
    means in the container that was bound last; that one is not kept alive.
    """

    def __init__(self, marker: Any = None, fallback: object = None) -> None:
        super().__init__()
        self.marker = marker
        self._fallback = ref(fallback)

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.target()(*args, **kwargs)

    def target(self) -> providers.Provider[Any]:
        """The provider to ask at this moment."""
        context = _cv_app.get(None)
        container = context and context.app.extensions.get("sqlite_container")
        found = self._in(container) if container is not None else None
        if found is None:
            found = self._in(self._fallback())
        if found is None:
            raise LookupError(f"the container that provided {self.marker!r} is gone")
        return found

    def _in(self, container: Any) -> providers.Provider[Any] | None:
        if container is None:
            return None
        known: dict[AppProvider, Any] = vars(container).setdefault(_RESOLVED, {})
        if self not in known:
            known[self] = resolve(self.marker, ProvidersMap(container))
        return known[self]


def resolve(marker: Any, known: ProvidersMap) -> providers.Provider[Any] | None:
    """The provider that a marker names, as dependency-injector resolves it."""
    provider = known.resolve_provider(marker.provider, marker.modifier)
    if provider is None or isinstance(marker, wiring.Provide):
        return provider
    return provider if isinstance(provider, providers.Delegate) else provider.provider


def bind(container: containers.DynamicContainer) -> bool:
    """Bind every injected function that this container provides for; tell if any was not yet."""
    known = ProvidersMap(container)
    wired = wired_to(container)
    changed = False
    for patched in list(_registry._callables.values()):
        for name, marker in patched.reference_injections.items():
            if isinstance(marker.provider, str) and not wired(patched.patched):
                continue
            if isinstance(patched.injections.get(name), AppProvider):
                continue
            if resolve(marker, known) is not None and name in patched.injections:
                patched.add_injection(name, AppProvider(marker, container))
                changed = True
    return changed


def wired_to(container: containers.DynamicContainer) -> Callable[[Any], bool]:
    """Whether a function stands in a module that the container was wired to."""
    modules = {module.__name__ for module in container.wired_to_modules}
    packages = tuple(package.__name__ for package in container.wired_to_packages)

    def wired(function: Any) -> bool:
        name: str = function.__module__
        return name in modules or any(
            name == package or name.startswith(f"{package}.") for package in packages
        )

    return wired


def counterpart(provider: Any, container: Any) -> Any:
    """The provider of the current app's container for one of another container.

    A view that was wired to another container since calls for that one's connection, and is
    given its own app's. A call for another container's connection by name is left as it is.
    """
    other = cast(ConnectionProvider, provider).container
    if not isinstance(other, containers.DynamicContainer) or not bind(other):
        return provider
    twin = _at(provider.path, container)
    if not isinstance(twin, ConnectionProvider) or provider in twin.overridden:
        return provider
    return twin


def _at(path: str, container: Any) -> Any:
    """The provider at a path such as ``tenants.acme.connection``."""
    found = container
    while path and found is not None:
        if isinstance(found, SQLiteDict):  # its names may have dots in them
            name, _, path = path.rpartition(".")
        else:
            name, _, path = path.partition(".")
        found = getattr(found, name, None)
    return found


def injected(function: Any) -> PatchedCallable | None:
    """What ``@inject`` made of a function, below whichever other decorators."""
    for each in layers(function):
        if (patched := _registry.get_callable(each)) is not None:
            return cast(PatchedCallable, patched)
    return None


def made_of(function: Any) -> bool:
    """Whether ``@inject`` was used on this function, but made another one of it."""
    return any(patched.original is function for patched in _registry._callables.values())


def layers(function: Any) -> Iterator[Any]:
    """A function, and those that its decorators wrap."""
    while function is not None:
        function = getattr(function, "__func__", function)
        yield function
        function = getattr(function, "__wrapped__", None)
