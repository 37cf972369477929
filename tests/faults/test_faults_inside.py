"""Whoever is inside SQLite is left alone: nothing is finished, closed or lent on under them.

Each test runs a program, because what it guards against is a crash of the interpreter.
"""

from pathlib import Path

import pytest

from faults import inside_programs
from faults.helpers import passes
from faults.inside_programs import USES, Use

of_each_use = pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)


@of_each_use
def test_a_thread_that_is_inside_when_its_request_ends(tmp_path: Path, use: Use) -> None:
    """The connection goes back when the thread leaves SQLite; its next use is refused."""
    passes(inside_programs.end_the_request, tmp_path, use.__name__)


@pytest.mark.slow
@of_each_use
def test_a_thread_that_is_inside_when_its_loan_is_lost(tmp_path: Path, use: Use) -> None:
    """A loan that nobody keeps ends when its thread leaves SQLite, whoever looks at it before."""
    passes(inside_programs.lose_the_loan, tmp_path, use.__name__)


@pytest.mark.slow
@of_each_use
def test_a_thread_that_is_inside_when_its_database_closes(tmp_path: Path, use: Use) -> None:
    """It ends with an error that says so, nothing crashes, and the file is closed in the end."""
    passes(inside_programs.close_the_database, tmp_path, use.__name__)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cursor", "blob", "connection"])
def test_a_thread_without_the_loan_never_gets_in(tmp_path: Path, kind: str) -> None:
    """It gets an error every time, and the owner gets what is there, undisturbed."""
    passes(inside_programs.use_in_two_threads, tmp_path, kind)


@pytest.mark.parametrize("whose", ["request", "nobody"])
def test_nobody_else_gets_in_while_the_owner_is_inside(tmp_path: Path, whose: str) -> None:
    """Every other way into SQLite is closed meanwhile, to a thread of the same request, too."""
    passes(inside_programs.use_while_inside, tmp_path, whose)


def test_two_threads_of_a_request_share_the_rows_of_a_cursor(tmp_path: Path) -> None:
    """One that comes while the other is inside is refused; no row is lost or given twice."""
    passes(inside_programs.fetch_together, tmp_path)
