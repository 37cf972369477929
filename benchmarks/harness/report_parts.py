"""What a benchmark hands to the report: tables, plots and goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Cell = str | float | int


@dataclass(frozen=True)
class Goal:
    """A figure to reach."""

    figure: str
    wanted: str
    found: str
    reached: bool


def at_most(figure: str, value: float, limit: float, unit: str = "") -> Goal:
    """A goal for something that should be small."""
    return Goal(figure, f"≤ {limit:g}{unit}", f"{value:.3g}{unit}", value <= limit)


def at_least(figure: str, value: float, limit: float, unit: str = "") -> Goal:
    """A goal for something that should be large."""
    return Goal(figure, f"≥ {limit:g}{unit}", f"{value:.3g}{unit}", value >= limit)


@dataclass(frozen=True)
class Table:
    """Figures with a caption."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Plot:
    """A picture: ``draw`` writes it to a file."""

    name: str
    alt: str
    draw: Callable[[Path], None]


@dataclass
class Section:
    """One benchmark's part of the report."""

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
