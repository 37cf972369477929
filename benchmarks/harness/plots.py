"""Pictures: small SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = "#1565c0"
OTHERS = "#9e9e9e"
_LINES = ("#9e9e9e", "#ef6c00", "#2e7d32", "#6a1b9a", "#c62828", "#5d4037", "#00838f")


def _figure(width: float, height: float, count: int = 1) -> tuple[Any, list[Any]]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, count, figsize=(width, height), squeeze=False)
    return figure, list(axes[0])


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n")


def bars(values: Mapping[str, float], label: str, path: Path) -> None:
    """One bar for each name, the first on top; what is ours stands out."""
    figure, (axes,) = _figure(6, 0.35 + 0.24 * len(values))
    names = list(values)[::-1]
    colours = [OURS if name.startswith("this library") else OTHERS for name in names]
    drawn = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(drawn, fmt="{:,.4g}", padding=2, fontsize=7)
    axes.set_xlabel(label)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    _save(figure, path)


def lines(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    labels: tuple[str, str],
    path: Path,
) -> None:
    """Panels side by side, each with one line for each name; both axes logarithmic."""
    figure, all_axes = _figure(3.6 * len(panels), 3.3, len(panels))
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
        rest = iter(_LINES)
        for name, points in curves.items():
            ours = name.startswith("this library")
            style = "--" if ours and name != "this library" else "-"
            colour = OURS if ours else next(rest)
            axes.plot(*zip(*points, strict=True), style, color=colour, marker=".", label=name)
        _label(axes, title, labels, [x for x, _ in next(iter(curves.values()))])
    handles, names = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper center", ncols=4, fontsize=7, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.9))
    _save(figure, path)


def _label(axes: Any, title: str, labels: tuple[str, str], ticks: Sequence[float]) -> None:
    axes.set_title(title, fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.spines[["top", "right"]].set_visible(False)
