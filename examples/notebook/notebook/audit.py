"""The audit trail: a service that takes a connection of its own for each of its doings."""

from sqlite3 import Row
from typing import Literal

from sqlite_container import Database

Action = Literal["wrote", "edited", "deleted"]


class AuditTrail:
    def __init__(self, database: Database) -> None:
        self.database = database

    def record(
        self, who: str, action: Action, note_id: int, title: str, notebook: str = ""
    ) -> None:
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO entry (who, action, notebook, note_id, title) VALUES (?, ?, ?, ?, ?)",
                (who, action, notebook, note_id, title),
            )

    def newest(self, limit: int, before: int | None = None) -> list[Row]:
        """The newest entries, or those before the entry with the number `before`."""
        with self.database.reader() as db:
            return db.execute(
                "SELECT * FROM entry WHERE :before IS NULL OR id < :before"
                " ORDER BY id DESC LIMIT :limit",
                {"before": before, "limit": limit},
            ).fetchall()
