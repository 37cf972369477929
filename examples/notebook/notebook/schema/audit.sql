CREATE TABLE entry (
    id       INTEGER PRIMARY KEY,
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
    who      TEXT NOT NULL,
    action   TEXT NOT NULL CHECK (action IN ('wrote', 'edited', 'deleted')),
    notebook TEXT NOT NULL,        -- the tenant's name, or '' for the common notebook
    note_id  INTEGER NOT NULL,
    title    TEXT NOT NULL
) STRICT;

CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN
    SELECT RAISE(ABORT, 'the audit trail is only ever added to');
END;

CREATE TRIGGER entry_remains BEFORE DELETE ON entry BEGIN
    SELECT RAISE(ABORT, 'the audit trail is only ever added to');
END;
