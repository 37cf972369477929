"""The page on how the library is built says what the source and its contracts say."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sqlite_container"
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def layers() -> list[str]:
    """The wings as import-linter holds them, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    found: list[str] = next(each["layers"] for each in contracts if each["type"] == "layers")
    return found


def test_the_drawing_is_the_contract() -> None:
    """The wings stand in the drawing in the order in which they may import each other."""
    drawing = re.search(r"\n\n((?:    .*\n)+)", PAGE)
    assert drawing is not None
    assert [line.strip() for line in drawing[1].splitlines()] == layers()


def test_every_wing_is_described() -> None:
    """The table has a line for each folder and each module of the package, and no other."""
    described = {
        name
        for line in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", line)
    }
    wings = {each.stem for each in SOURCE.iterdir() if not each.name.startswith(("_", "py.typed"))}
    assert described == wings


def test_every_file_that_is_named_is_there() -> None:
    """Nobody is sent to a module that was moved."""
    pages = [PAGE, (ROOT / "CONTRIBUTING.md").read_text()]
    named = {name for page in pages for name in re.findall(r"\b[a-z_0-9]+/[a-z_0-9/]+\.py\b", page)}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (SOURCE / name).is_file()] == []


def test_every_wing_has_a_front_page() -> None:
    """It says what the wing is for."""
    for wing in sorted(each for each in SOURCE.iterdir() if (each / "__init__.py").is_file()):
        assert (wing / "__init__.py").read_text().startswith('"""'), wing
