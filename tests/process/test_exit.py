"""What the main thread still has when the interpreter ends."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from common.databases import files

PUSHED = """
    import sys
    from dependency_injector import containers
    from flask import Flask
    from sqlite_container import SQLite
    from sqlite_container.flask import init_app

    class Archive(containers.DeclarativeContainer):
        letters = SQLite(sys.argv[1])

    app = Flask(__name__)
    init_app(app, Archive())
    app.app_context().push()
    db = app.container.letters.connection()
    with db:
        db.execute("CREATE TABLE letter (text)")
    raise KeyboardInterrupt
"""
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


@pytest.mark.parametrize(
    "script",
    [SCRIPT.format(loan="connection"), SCRIPT.format(loan="transaction"), PUSHED],
    ids=["connection", "transaction", "a context that was pushed"],
)
def test_what_the_main_thread_never_gave_back_is_closed(tmp_path: Path, script: str) -> None:
    """A block that an interrupt has torn open leaves no warning, and no -wal file."""
    script = textwrap.dedent(script)
    command = [sys.executable, "-X", "dev", "-c", script, str(tmp_path / "letters.db")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Warning" not in ended.stderr
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert files(tmp_path) == {"letters.db"}
