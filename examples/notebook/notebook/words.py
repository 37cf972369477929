"""Looking words up in the read-only reference database."""

from datetime import date
from sqlite3 import Row

from sqlite_container import Connection


def of_the_day(db: Connection, day: date) -> Row | None:
    """Another word each day, until all have had theirs."""
    row: Row | None = db.execute(
        "SELECT * FROM word ORDER BY id LIMIT 1 OFFSET ? % (SELECT max(1, count(*)) FROM word)",
        (day.toordinal(),),
    ).fetchone()
    return row


def look_up(db: Connection, text: str) -> list[Row]:
    """The words that hold `text`, or whose meaning does; all of them for an empty text."""
    return db.execute(
        """
        SELECT * FROM word
        WHERE instr(lower(word), lower(:text)) OR instr(lower(meaning), lower(:text))
        ORDER BY instr(lower(word), lower(:text)) = 0, word
        """,
        {"text": text},
    ).fetchall()
