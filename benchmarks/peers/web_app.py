"""What a peer of the request benchmarks gives: an app with a reading and a writing view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask

View = Callable[[int], Any]


def _nothing() -> None:
    """Most peers have nothing to do."""


@dataclass(frozen=True)
class Served:
    """An app; ``close`` at its end, ``tidy`` (not measured) after each round."""

    app: Flask
    close: Callable[[], None] = _nothing
    tidy: Callable[[], None] = _nothing


def add_routes(app: Flask, read: View, write: View) -> None:
    """``GET`` and ``POST /item/1``."""
    app.add_url_rule("/item/<int:number>", "read", read, methods=["GET"])
    app.add_url_rule("/item/<int:number>", "write", write, methods=["POST"])
