"""Databases that a subclass, a copy or an instance of a container has put another one in place of.

dependency-injector leaves the old one with the providers that used it already: they would go on
with another file than everybody else, or be refused as a second database on the same one.
"""

from __future__ import annotations

from typing import Any

from dependency_injector import providers

from ..errors import Mistake
from .providers import DatabaseProvider, SQLite
from .settings import name_in


def use_replacements(container: Any) -> list[Mistake]:
    """Have whatever uses a replaced database use the new one; return where that cannot be."""
    databases = list(container.traverse(types=[DatabaseProvider]))
    replaced = {each.owner for each in databases if each.owner and is_replaced(each.owner)}
    return [problem for each in replaced if (problem := _replace(container, each)) is not None]


def is_replaced(provider: Any) -> bool:
    """Whether a container that it stands in does not know it any more."""
    parent = getattr(provider, "parent", None)
    if parent is None:
        return False
    is_container = isinstance(parent, providers.Container)
    above = parent if is_container else getattr(parent, "parent", None)
    return name_in(parent, provider) is None or (above is not None and is_replaced(above))


def _replace(container: Any, old: SQLite) -> Mistake | None:
    new = container.providers.get(old.called)
    if isinstance(new, SQLite) and old.database.current.closed:
        old.override(new)
        return None
    problem = (
        "another provider was put in its place, and some use the old one still; declare those anew,"
        " or use override()"
    )
    return Mistake(old.called or "database", problem)
