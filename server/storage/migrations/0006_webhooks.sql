-- Who is told of changes. The secret signs what is sent, so it is kept as it is.
CREATE TABLE webhook (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    room          TEXT, -- NULL: the server's own
    url           TEXT NOT NULL,
    events        TEXT NOT NULL, -- names, with a comma between them
    secret        TEXT NOT NULL,
    created_at    INTEGER NOT NULL, -- Unix milliseconds
    created_by    TEXT NOT NULL,
    off_at        INTEGER, -- NULL: it is on
    off_reason    TEXT,
    failing_since INTEGER
) STRICT;

-- What is sent, or was. `seq` is the order of insertion.
CREATE TABLE webhook_delivery (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    webhook    TEXT NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    event      TEXT NOT NULL,
    document   TEXT,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up', 'dropped')),
    state_at   INTEGER NOT NULL, -- when the next attempt is due, or when it was over
    status     INTEGER,
    error      TEXT
) STRICT;

CREATE INDEX webhook_delivery_newest ON webhook_delivery (webhook, seq);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook, state_at, seq) WHERE state = 'waiting';

-- Up to which update a document's changes were announced, so that what a kill kept from being announced is found.
CREATE TABLE webhook_announced (
    document TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
