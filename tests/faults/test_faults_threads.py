"""Who is dead is found, and who lives is left alone, whichever module started the thread."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults import thread_programs
from faults.helpers import passes
from faults.thread_programs import STARTS, Start

of_each_kind = pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)


@of_each_kind
@pytest.mark.parametrize(
    "program",
    [
        thread_programs.find_the_dead,
        thread_programs.find_the_dead_that_wrote,
        thread_programs.find_the_dead_of_an_app,
    ],
    ids=lambda program: program.__name__,
)
def test_a_dead_thread_is_found(
    tmp_path: Path, program: Callable[[str, str], None], start: Start
) -> None:
    """Whoever waits for its connection gets one, what it wrote is undone, and it is told."""
    passes(program, tmp_path, start.__name__)


def test_a_thread_with_the_number_of_a_dead_one_is_somebody_else(tmp_path: Path) -> None:
    """It neither keeps the dead one's connection out nor may use it."""
    passes(thread_programs.same_ident, tmp_path)


@pytest.mark.slow
@of_each_kind
def test_a_living_thread_is_not_taken_for_dead(tmp_path: Path, start: Start) -> None:
    """An exception amid a look at the holders costs nobody the connection."""
    passes(thread_programs.keep_the_living, tmp_path, start.__name__)


def test_a_raw_thread_keeps_its_connection_while_it_lives(tmp_path: Path) -> None:
    """Nobody can join it, and yet it is known to live."""
    passes(thread_programs.keep_a_living_raw_thread, tmp_path)
