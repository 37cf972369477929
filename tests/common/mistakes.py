"""What the tests of wiring mistakes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from common.shop import MakeApp
from sqlite_container import WiringError


def line_of(function: Any) -> str:
    """The file and the first line of a function, as a message names them."""
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def mistakes(make_app: MakeApp, register: Callable[[Flask], object]) -> str:
    """What an app is told whose views were registered so."""
    with pytest.raises(WiringError) as caught:
        make_app("one", register)
    return str(caught.value)
