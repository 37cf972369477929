-- AUTOINCREMENT: the number in an old session cookie never comes to mean somebody new.
CREATE TABLE user (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (name <> ''),
    password TEXT NOT NULL             -- its hash
) STRICT;

CREATE TABLE post (
    id        INTEGER PRIMARY KEY,
    author_id INTEGER NOT NULL REFERENCES user ON DELETE CASCADE,
    created   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
    title     TEXT NOT NULL CHECK (title <> ''),
    body      TEXT NOT NULL
) STRICT;

CREATE INDEX post_by_author ON post (author_id);
