"""What the main thread still has when the interpreter ends."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from core.helpers import files

SCRIPT = """
    import sys
    from dependency_injector import containers
    from sqlite_container import SQLite, shutdown_at_exit

    class Archive(containers.DeclarativeContainer):
        letters = SQLite(sys.argv[1])

    archive = Archive()
    shutdown_at_exit(archive)
    loan = archive.letters.database().{loan}()
    db = loan.__enter__()
    db.execute("CREATE TABLE letter (text)")
    db.execute("INSERT INTO letter VALUES ('Dear reader')")
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("loan", ["connection", "transaction"])
def test_what_the_main_thread_never_gave_back_is_closed(tmp_path: Path, loan: str) -> None:
    """A block that an interrupt has torn open leaves no warning, and no -wal file."""
    script = textwrap.dedent(SCRIPT.format(loan=loan))
    command = [sys.executable, "-X", "dev", "-c", script, str(tmp_path / "letters.db")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Warning" not in ended.stderr
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert files(tmp_path) == {"letters.db"}
