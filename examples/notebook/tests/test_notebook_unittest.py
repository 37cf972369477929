# ruff: noqa: PT009 - unittest has words of its own
"""The same without pytest's fixtures: `unittest`, and the context manager."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from notebook import create_app
from notebook.container import Container
from sqlite_container import shutdown
from sqlite_container.testing import temporary_databases


class NotebookTest(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(TemporaryDirectory()))
        app = create_app({"instance_path": str(self.folder)})
        self.container: Container = app.extensions["sqlite_container"]
        self.addCleanup(shutdown, self.container)
        self.enterContext(temporary_databases(self.container, only=["notes", "audit", "tenants"]))
        self.client = app.test_client()

    def write(self, title: str) -> None:
        answer = self.client.post("/notes/new", data={"title": title})
        self.assertEqual(answer.status_code, 302)

    def test_a_note_is_listed_and_on_the_trail(self) -> None:
        self.write("By the book")
        self.assertIn("By the book", self.client.get("/notes/").text)
        self.assertIn("By the book", self.client.get("/audit/").text)

    def test_each_test_begins_with_an_empty_notebook(self) -> None:
        self.assertIn("Nothing is written yet.", self.client.get("/notes/").text)
        self.write("The only one")

    def test_the_real_files_are_never_made(self) -> None:
        self.write("Elsewhere")
        self.assertEqual([file for file in self.folder.rglob("*") if file.is_file()], [])
