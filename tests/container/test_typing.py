"""A type checker knows what the providers give."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONNECTION = "sqlite_container.connection.connection.Connection"
DATABASE = "sqlite_container.database.database.Database"
EXPECTED = [
    *[CONNECTION] * 3,
    DATABASE,
    *[CONNECTION] * 2,
    DATABASE,
    "list[str]",
    *[CONNECTION] * 4,
    "dict[str, int | float]",
]


def test_mypy_knows_the_types(tmp_path: Path) -> None:
    """`mypy --strict` finds no error in what users write, and reveals the right types."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            *("--config-file", os.devnull, "--python-version", "3.11"),
            *("--cache-dir", str(tmp_path), str(HERE / "typing_cases.py")),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if ": error:" in line] == []
    revealed = re.findall(r'Revealed type is "([^"]+)"', done.stdout)
    normal = [
        re.sub(r"builtins\.", "", each).replace("Union[int, float]", "int | float")
        for each in revealed
    ]
    assert normal == EXPECTED
