"""Where providers and their settings stand: in the container, and in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, cast, runtime_checkable

from dependency_injector import errors, providers

from ..errors import ConfigurationError, Mistake, did_you_mean, found


@runtime_checkable
class Placed(Protocol):
    """Settings that know where they stand in the configuration."""

    @property
    def standing(self) -> str:
        """Such as ``tenants.acme``."""
        ...


def place_of(settings: object) -> str | None:
    """Where settings stand in the configuration, if that is where they come from."""
    if isinstance(settings, providers.TypedConfigurationOption):
        settings = settings.option
    if isinstance(settings, providers.ConfigurationOption):
        with suppress(Exception):  # a part of its name may come from the configuration itself
            return str(settings.get_name().partition(".")[2])
        return None
    return settings.standing if isinstance(settings, Placed) else None


def value_of(settings: object, place: str) -> object:
    """The settings themselves. Raises :class:`ConfigurationError` where nothing can be read."""
    if not providers.is_provider(settings):
        return settings
    try:
        value = cast("providers.Provider[Any]", settings)()
    except ConfigurationError:
        raise
    except Exception as error:  # of dependency-injector, of another shape, or of the app's own code
        raise ConfigurationError([Mistake(place, _unreadable(settings, error))]) from error
    if value is None and (why := _missing(settings)):
        raise ConfigurationError([Mistake(place, f"nothing is set here{why}")])
    return cast(object, value)


def _unreadable(settings: object, error: Exception) -> str:
    if why := _missing(settings):
        return f"nothing is set here{why}"
    if isinstance(error, errors.Error):
        return f"nothing is set here ({error})"
    return f"this cannot be read: {type(error).__name__}: {error}"


def _missing(settings: object) -> str:
    """Which part of an option's name the configuration does not have, and what it has."""
    if isinstance(settings, providers.TypedConfigurationOption):
        settings = settings.option
    if not isinstance(settings, providers.ConfigurationOption):
        return ""
    place = place_of(settings)
    if place is None:
        return ""
    try:
        root: Any = cast(Any, settings)._get_root()()
    except errors.Error:
        return ""
    return _first_missing(place.split("."), root)


def _first_missing(steps: list[str], value: Any) -> str:
    for number, step in enumerate(steps):
        if not number and not value:
            return "; the configuration is empty: load it before it is used"
        if not isinstance(value, Mapping):
            above = f"'{'.'.join(steps[:number])}'" if number else "the configuration"
            instead = "found nothing" if value is None else found(value)
            return f"; a mapping is expected in {above}, {instead}"
        if step not in value:
            near = did_you_mean(step, [str(each) for each in value])
            is_last = number == len(steps) - 1
            return near if is_last else f"; '{'.'.join(steps[: number + 1])}' is missing{near}"
        value = value[step]
    return ""


def copied(settings: Any, memo: dict[int, Any]) -> Any:
    """A copy of a provider, made together with those it belongs to; other values as they are."""
    return providers.deepcopy(settings, memo) if providers.is_provider(settings) else settings


def path_of(provider: providers.Container[Any]) -> str:
    """Where a provider stands in its container: ``notes``, ``core.notes`` or ``tenants.acme``."""
    parent: Any = provider.parent
    name = None if parent is None else _name_in(parent, provider)
    if name is None:
        return "database"
    inside = isinstance(parent, providers.Container)
    above = parent if inside else getattr(parent, "parent", None)
    return f"{path_of(above)}.{name}" if above is not None else name


def _name_in(parent: Any, provider: providers.Container[Any]) -> str | None:
    """What a container calls a provider; None if another one was put in its place.

    dependency-injector shows the provider in its error, and whoever shows it asks for its name:
    so only a class that has its own way is asked.
    """
    is_container = isinstance(parent, providers.Container)
    if is_container and type(parent) is not providers.Container:
        with suppress(errors.Error):
            return str(parent.resolve_provider_name(provider))
        return None
    known = (parent.container if is_container else parent).providers
    return next((name for name, each in known.items() if each is provider), None)
