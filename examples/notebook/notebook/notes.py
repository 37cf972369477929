"""The notes of one notebook: a repository on a connection that somebody else owns."""

import re
from collections.abc import Iterator
from sqlite3 import Row

from sqlite_container import Connection

# Around what was found, in place of tags: `pages.highlight` makes them <mark>, after escaping.
FOUND, END = "\x02", "\x03"


class Notes:
    def __init__(self, db: Connection) -> None:
        self.db = db

    def newest(self, limit: int, offset: int = 0) -> list[Row]:
        return self.db.execute(
            "SELECT * FROM note ORDER BY created DESC, id DESC LIMIT ? OFFSET ?", (limit, offset)
        ).fetchall()

    def count(self) -> int:
        total: int = self.db.execute("SELECT count(*) FROM note").fetchone()[0]
        return total

    def search(self, text: str, limit: int = 50) -> list[Row]:
        """The notes in which every word of `text` begins a word, the best first."""
        # Quoted, a word is never taken for an operator of FTS5 (AND, NEAR, a column, …).
        query = " ".join(f'"{word}"*' for word in re.findall(r"\w+", text))
        if not query:
            return []
        return self.db.execute(
            """
            SELECT note.id, note.author, note.created,
                   highlight(note_text, 0, :found, :end) AS title,
                   snippet(note_text, 1, :found, :end, '…', 32) AS body
            FROM note_text JOIN note ON note.id = note_text.rowid
            WHERE note_text MATCH :query ORDER BY bm25(note_text, 5.0, 1.0) LIMIT :limit
            """,
            {"query": query, "found": FOUND, "end": END, "limit": limit},
        ).fetchall()

    def get(self, note_id: int) -> Row | None:
        row: Row | None = self.db.execute("SELECT * FROM note WHERE id = ?", (note_id,)).fetchone()
        return row

    def everything(self) -> Iterator[Row]:
        """Every note, read as it is asked for."""
        return self.db.execute("SELECT * FROM note ORDER BY id")

    def add(self, title: str, body: str, author: str) -> int:
        with self.db:
            cursor = self.db.execute(
                "INSERT INTO note (title, body, author) VALUES (?, ?, ?)", (title, body, author)
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def edit(self, note_id: int, title: str, body: str) -> bool:
        """Change a note; False if there is none."""
        with self.db:
            cursor = self.db.execute(
                "UPDATE note SET title = ?, body = ?, edited = strftime('%Y-%m-%dT%H:%M:%SZ')"
                " WHERE id = ?",
                (title, body, note_id),
            )
        return cursor.rowcount == 1

    def delete(self, note_id: int) -> bool:
        """Delete a note; False if there is none."""
        with self.db:
            cursor = self.db.execute("DELETE FROM note WHERE id = ?", (note_id,))
        return cursor.rowcount == 1
