"""Where providers and their settings stand: in the container, and in the configuration."""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

from dependency_injector import errors, providers

from .errors import ConfigurationError, Mistake


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
        return str(settings.get_name().partition(".")[2])
    return settings.standing if isinstance(settings, Placed) else None


def value_of(settings: object, place: str) -> object:
    """The settings themselves. Raises :class:`ConfigurationError` where nothing is set."""
    if not providers.is_provider(settings):
        return settings
    try:
        return cast("providers.Provider[Any]", settings)()
    except errors.Error as error:
        raise ConfigurationError([Mistake(place, f"nothing is set here ({error})")]) from error


def copied(settings: Any, memo: dict[int, Any]) -> Any:
    """A copy of a provider, made together with those it belongs to; other values as they are."""
    return providers.deepcopy(settings, memo) if providers.is_provider(settings) else settings


def path_of(provider: providers.Container[Any]) -> str:
    """Where a provider stands in its container: ``notes``, ``core.notes`` or ``tenants.acme``."""
    parent: Any = provider.parent
    if parent is None:
        return "database"
    try:
        name = str(parent.resolve_provider_name(provider))
    except errors.Error:
        return "database"
    inside = isinstance(parent, providers.Container)
    above = parent if inside else getattr(parent, "parent", None)
    return f"{path_of(above)}.{name}" if above is not None else name
