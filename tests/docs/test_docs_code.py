"""Every code block of README.md, CONTRIBUTING.md and docs/ does what the page says.

The blocks of a page run in order, in an empty folder of their own:

- ``python`` is executed; a block with a ``:caption:`` is first written to that file.
- Any other language needs a caption: it is written to that file.
- ``text`` directly after a block that ran is what that block printed; ``…`` stands for anything,
  and a time such as ``0.2 s`` for any time.
- ``console`` is run line by line: a server until it has answered, then it gets Ctrl-C.
- Blocks in comments (``invisible-code-block``) run too, and no reader sees them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import gc
import importlib
import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract.lexers import LexerCollection
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer
from sybil.parsers.myst.lexers import DirectiveInPercentCommentLexer, DirectiveLexer

import sqlite_container
from sqlite_container import Database, DatabaseConfig, FunctionConfig, PoolConfig
from sqlite_container.database.database import live

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_OURS = ("benchmarks.md",)  # figures, written by the benchmarks
SETS_UP = ("mkdir ", "python3 -m venv ", ". ", "pip install ", "make ", "git clone ")
BAD = re.compile(r"Warning|Traceback|Error")
NOT_OF_OURS = re.compile(
    r"WARNING: This is a dev.*|.*subprocess \d+ is still running|.*_warn\(.*|.*Enable tracemalloc.*"
)
"""What Flask says of its server, and Python of Werkzeug's watcher, which does not wait."""

_execute = PythonEvaluator()
_LEXERS = LexerCollection(
    [
        FencedCodeBlockLexer(r"\w+", mapping={"language": "arguments", "source": "source"}),
        DirectiveLexer(r"code-block", r"\w+"),
        DirectiveInPercentCommentLexer(r"invisible-code-block", r"\w+"),
        DirectiveInHTMLCommentLexer(r"invisible-code-block", r"\w+"),
    ]
)


class Page:
    """One page, its folder, and what its last block printed."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.folder = folder
        self.printed: str | None = None
        self.document = Document.parse(str(path), self._parse)
        name = f"docs_{path.stem.lower()}"
        self.module = types.ModuleType(name)
        self.module.__file__ = str(folder / f"{name}.py")
        sys.modules[name] = self.module
        self.document.namespace = vars(self.module)

    def run(self) -> None:
        for example in self.document:
            example.evaluate()
            vars(self.module).setdefault("__builtins__", __builtins__)

    def _parse(self, document: Document) -> Iterator[Region]:
        for region in _LEXERS(document):
            region.parsed = region.lexemes["source"]
            region.evaluator = self._evaluate
            yield region

    def _evaluate(self, example: Example) -> str | None:
        language = example.region.lexemes["arguments"]
        file = (example.region.lexemes.get("options") or {}).get("caption")
        if language == "text":
            return self._compare(example.parsed)
        self.printed = None
        if file is not None:
            self._write(file.strip("`"), example.parsed, language)
            return None
        if language == "console":
            self.printed = "".join(map(self._command, _commands(example.parsed)))
            return None
        if language != "python":
            return f"a block of {language!r} needs a caption, the file it is written to"
        with contextlib.redirect_stdout(io.StringIO()) as output:
            _execute(example)
        self.printed = output.getvalue()
        return None

    def _compare(self, expected: str) -> str | None:
        found, self.printed = self.printed, None
        if found is None:
            return "no block that ran stands directly before this text"
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        pattern = re.sub(r"\b\d+\.\d+ s\b", "… s", expected).replace("…", "...")
        if doctest.OutputChecker().check_output(pattern, found, flags):
            return None
        return f"the page says:\n{expected}\nit was:\n{found}"

    def _write(self, name: str, text: str, language: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        if language == "python":
            compile(text, name, "exec")
            forget_modules(self.folder)  # it may be another version of what was imported

    def _command(self, command: str) -> str:
        if command.startswith(SETS_UP):
            return ""
        words = shlex.split(command)
        if "-n" in words and not find_spec("xdist"):
            del words[words.index("-n") :]  # in parallel, where that is installed
        words[:1] = [] if words[0].startswith("python") else ["-m", words[0]]
        if "run" in words:
            serve(words, self.folder)
            return ""
        done = subprocess.run(
            [sys.executable, "-X", "dev", *words],
            cwd=self.folder,
            env=environment() | {"PYTEST_DEBUG_TEMPROOT": str(self.folder.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert not BAD.search(done.stdout + done.stderr), done.stdout + done.stderr
        return done.stdout


def _commands(block: str) -> list[str]:
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def environment() -> dict[str, str]:
    """Whatever is warned of must be seen; the library is found where it is tested."""
    path = os.pathsep.join(each for each in sys.path if each.endswith("src"))
    return os.environ | {"PYTHONWARNINGS": "always", "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}


def serve(words: list[str], folder: Path) -> None:
    """Start a server; see it answer, end at Ctrl-C, and leave nothing behind."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    output = folder.parent / "server.txt"
    with output.open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-X", "dev", *words, "--port", str(port)],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            assert answers(port, server), output.read_text()
            os.killpg(server.pid, signal.SIGINT)
            server.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(20)
    text = output.read_text()
    assert not BAD.search(NOT_OF_OURS.sub("", text)), text
    assert not list(folder.rglob("*-wal")), text


def answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait for the start page."""
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer,
        ):
            return int(answer.status) == 200
        time.sleep(0.1)
    return False


def forget_modules(folder: Path) -> None:
    """Unload what was imported from ``folder``."""
    for name, module in list(sys.modules.items()):
        file: Any = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(folder):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, which is the current one and where modules are found."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.syspath_prepend(empty)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within a second
    yield empty
    for database in list(live):
        database.close()
    forget_modules(empty)
    gc.collect()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_code_block_runs(path: Path, folder: Path) -> None:
    """What a page shows works when it is pasted, in order, into an empty folder."""
    if path.name in NOT_OURS:
        pytest.skip("no code to run")
    Page(path, folder).run()


def first_example() -> str:
    text = (ROOT / "README.md").read_text()
    match = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def test_the_first_example_is_a_program(folder: Path) -> None:
    """The README's first example, pasted into an empty file, runs and leaves nothing open."""
    (folder / "pasted.py").write_text(first_example())
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "pasted.py"],
        cwd=folder,
        env=environment() | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "milk" in done.stdout
    assert not list(folder.rglob("*-wal"))


def test_the_first_example_is_an_app(folder: Path) -> None:
    """The README's first example, pasted into an empty file, is served by ``flask run``."""
    (folder / "pasted.py").write_text(first_example())
    serve(["-m", "flask", "--app", "pasted", "run", "--debug"], folder)
    serve(["-m", "flask", "--app", "pasted", "run"], folder)


def table_of(page: str) -> set[str]:
    """The first column of every table of a page, as far as it is code."""
    return set(re.findall(r"^\| `([^`|]+)` \|", (ROOT / "docs" / page).read_text(), re.MULTILINE))


def test_every_setting_is_described() -> None:
    """The table of settings has all of them, and no other."""
    settings = {field.name for field in dataclasses.fields(DatabaseConfig)} - {"pool"}
    settings |= {f"pool.{field.name}" for field in dataclasses.fields(PoolConfig)}
    described = {name for name in table_of("container.md") if not name.startswith(".")}
    assert described == settings


@pytest.mark.parametrize("config", [DatabaseConfig, PoolConfig, FunctionConfig])
def test_every_field_of_the_settings_is_listed(config: Any) -> None:
    """The page about the API has all of them, in order."""
    page = (ROOT / "docs" / "api.md").read_text()
    listed = re.search(
        rf"^Fields of `{config.__name__}`[^:]*:(.*?)\.$", page, re.MULTILINE | re.DOTALL
    )
    assert listed is not None
    fields = [field.name for field in dataclasses.fields(config)]
    assert re.findall(r"`(\w+)`", listed[1]) == fields


def test_every_statistic_is_described(tmp_path: Path) -> None:
    """The table of statistics has all of them."""
    database = Database("any")
    database.open(tmp_path / "any.db")
    try:
        assert set(database.stats()) <= table_of("pool.md")
    finally:
        database.close()


def test_every_error_and_name_is_described() -> None:
    """The table of errors has every error, and the reference every exported name."""
    errors = {
        name
        for name in sqlite_container.__all__
        if isinstance(kind := getattr(sqlite_container, name), type) and issubclass(kind, Exception)
    }
    assert table_of("errors.md") == errors
    reference = (ROOT / "docs" / "api.md").read_text()
    named = set(re.findall(r"^\.\. auto\w+:: sqlite_container\.(\w+)", reference, re.MULTILINE))
    assert named - {"flask", "testing"} == set(sqlite_container.__all__)
