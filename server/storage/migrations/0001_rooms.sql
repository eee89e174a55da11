-- Documents: a log of updates, and a snapshot that spares reading its beginning.
CREATE TABLE document (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE document_update (
    document  INTEGER NOT NULL REFERENCES document (id),
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL, -- Unix milliseconds
    principal TEXT NOT NULL,
    data      BLOB NOT NULL,
    PRIMARY KEY (document, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE document_snapshot (
    document INTEGER PRIMARY KEY REFERENCES document (id),
    seq      INTEGER NOT NULL,
    data     BLOB NOT NULL
) STRICT;

CREATE TABLE principal (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- A session is known by the SHA-256 of its token; the token itself is never kept.
CREATE TABLE session (
    token_hash BLOB PRIMARY KEY,
    principal  TEXT NOT NULL REFERENCES principal (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE room (
    id         TEXT PRIMARY KEY,
    title      TEXT NOT NULL,
    template   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE node (
    room   TEXT NOT NULL REFERENCES room (id),
    id     TEXT NOT NULL,
    parent TEXT, -- NULL is the workspace's root
    name   TEXT NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN ('folder', 'text', 'binary', 'large')),
    size   INTEGER NOT NULL,
    rev    INTEGER NOT NULL,
    PRIMARY KEY (room, id)
) STRICT, WITHOUT ROWID;

-- Who changed the tree, in order.
CREATE TABLE tree_journal (
    room      TEXT NOT NULL REFERENCES room (id),
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    principal TEXT NOT NULL,
    change    TEXT NOT NULL, -- JSON: {"changed": [node], "deleted": [id]}
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
