-- One notebook. AUTOINCREMENT: the number of a deleted note is never given again,
-- so that an old line in the audit trail cannot come to mean a new note.
CREATE TABLE note (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    title   TEXT NOT NULL CHECK (title <> ''),
    body    TEXT NOT NULL,
    author  TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
    edited  TEXT
) STRICT;

CREATE INDEX note_by_date ON note (created DESC, id DESC);

-- The full-text index keeps no text of its own; the triggers keep it true.
CREATE VIRTUAL TABLE note_text USING fts5 (
    title, body,
    content = 'note', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2', prefix = '2 3'
);

CREATE TRIGGER note_inserted AFTER INSERT ON note BEGIN
    INSERT INTO note_text (rowid, title, body) VALUES (new.id, new.title, new.body);
END;

CREATE TRIGGER note_deleted AFTER DELETE ON note BEGIN
    INSERT INTO note_text (note_text, rowid, title, body)
    VALUES ('delete', old.id, old.title, old.body);
END;

CREATE TRIGGER note_updated AFTER UPDATE OF title, body ON note BEGIN
    INSERT INTO note_text (note_text, rowid, title, body)
    VALUES ('delete', old.id, old.title, old.body);
    INSERT INTO note_text (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
