"""The page about the architecture says what the contracts in ``pyproject.toml`` say."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import sqlite_container

ROOT = Path(__file__).parents[2]
PACKAGE = Path(sqlite_container.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
CONTRACTS: dict[str, dict[str, Any]] = {
    each["id"]: each
    for each in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}
LAYERS: list[str] = CONTRACTS["wings"]["layers"]
WINGS = [wing for layer in LAYERS for wing in layer.split(" | ")]
KNOW_THE_INJECTOR = {"container", "process", "testing", "flask"}


def drawing(heading: str) -> list[str]:
    """The lines of the first drawing below a heading, without blanks around them."""
    match = re.search(rf"^## {heading}\n.*?^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, heading
    return [line.strip() for line in match[1].splitlines()]


def test_the_drawing_has_the_arrows_of_the_contract() -> None:
    """Its lines are the layers in their order, with one arrow between each two."""
    lines = drawing("The wings")
    assert lines[::2] == LAYERS
    assert lines[1::2] == ["▼"] * (len(LAYERS) - 1)


def test_a_request_goes_through_the_wings_in_their_order() -> None:
    """Down the left side of the drawing, each wing is below the one before."""
    first_words = [line.split()[0] for line in drawing("The way of one request")]
    passed = [word for word in first_words if word in WINGS]
    assert len(passed) > 5
    assert passed == sorted(passed, key=WINGS.index)


def test_every_wing_is_in_the_table_and_in_the_package() -> None:
    """Each layer is a folder or a module, and each of them is a layer."""
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == WINGS
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {name for name in found if not name.startswith("_")} == set(WINGS)


def test_every_module_that_is_named_exists() -> None:
    """Nobody is sent to a module that was moved."""
    pages = [PAGE, (ROOT / "CONTRIBUTING.md").read_text("utf-8")]
    named = {name for page in pages for name in re.findall(r"`(\w+/\w+\.py|\w+\.py)`", page)}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == []


def test_no_wing_is_forgotten_by_the_other_contracts() -> None:
    """Only one wing knows a web framework, and four know dependency-injector."""
    for name, allowed in (("web-framework", {"flask"}), ("dependency-injector", KNOW_THE_INJECTOR)):
        sources = {each.rpartition(".")[2] for each in CONTRACTS[name]["source_modules"]}
        assert sources == set(WINGS) - allowed, name


@pytest.mark.parametrize("wing", [each for each in WINGS if (PACKAGE / each).is_dir()])
def test_a_front_page_says_what_the_wing_may_import(wing: str) -> None:
    """The docstring of each folder names the layer below its own."""
    page = importlib.import_module(f"sqlite_container.{wing}").__doc__ or ""
    position = next(i for i, layer in enumerate(LAYERS) if wing in layer.split(" | "))
    below = LAYERS[position + 1 :]
    said = "Imports no other wing." if not below else _may_import(below[0])
    assert said in " ".join(page.split())


def _may_import(layer: str) -> str:
    them = "them" if " | " in layer else "it"
    names = ", ".join(f"`{wing}`" for wing in layer.split(" | "))
    return f"May import {names} and the wings below {them}."
