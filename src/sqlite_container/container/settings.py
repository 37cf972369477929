"""Where providers and their settings stand: in the container, and in the configuration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from contextlib import suppress
from os import PathLike, fspath
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


@runtime_checkable
class Names(Protocol):
    """What knows its members' names without walking through all of them."""

    def name_of(self, member: Any) -> str | None:
        """Return the name of a member; None if it is none."""
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
    name = None if parent is None else name_in(parent, provider)
    if name is None:
        return "database"
    inside = isinstance(parent, providers.Container)
    above = parent if inside else getattr(parent, "parent", None)
    return f"{path_of(above)}.{name}" if above is not None else name


def name_in(parent: Any, provider: object) -> str | None:
    """Its name; ``resolve_provider_name()`` would print a provider that it cannot find."""
    if isinstance(parent, Names):
        return parent.name_of(provider)
    is_container = isinstance(parent, providers.Container)
    members: Mapping[str, object] = (parent.container if is_container else parent).providers
    return next((name for name, each in members.items() if each is provider), None)


def named(settings: Any, name: str, place: str) -> object:
    """Return settings with the ``{name}`` in their path replaced."""
    if isinstance(settings, str | PathLike):
        return _filled(settings, name, place)
    if hasattr(settings, "model_dump"):  # of pydantic
        settings = settings.model_dump(by_alias=True)
    is_mapping = isinstance(settings, Mapping)
    path = settings.get("path") if is_mapping else getattr(settings, "path", None)
    if not isinstance(path, str | PathLike):
        return settings
    filled = _filled(path, name, f"{place}.path")
    if is_mapping:
        return {**settings, "path": filled}
    return settings if filled == path else dataclasses.replace(settings, path=filled)


def _filled(path: str | PathLike[str], name: str, place: str) -> str | PathLike[str]:
    text = fspath(path)
    if "{" not in text:
        return path
    unknown = [each[0] for each in _PLACEHOLDER.finditer(text) if each[0] != "{name}"]
    if unknown:
        problem = (
            f"{unknown[0]} stands for nothing, {{name}} for the database's name; found {text!r}"
        )
        raise ConfigurationError([Mistake(place, problem)])
    return text.replace("{name}", name)


_PLACEHOLDER = re.compile(r"(?<!\$)\{\s*(\w*)\s*\}")
