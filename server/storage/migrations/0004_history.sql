-- A deleted document keeps its row, so that nobody uses its name by accident. Used again it begins another epoch, after the
-- update number `begins`.
ALTER TABLE document ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;
ALTER TABLE document ADD COLUMN begins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE document ADD COLUMN deleted_at INTEGER; -- Unix milliseconds
ALTER TABLE document ADD COLUMN deleted_by TEXT;

-- person, agent, file_system or system
ALTER TABLE principal ADD COLUMN kind TEXT NOT NULL DEFAULT 'person';

-- Versions that somebody named, with their state.
CREATE TABLE document_version (
    document  INTEGER NOT NULL REFERENCES document (id),
    seq       INTEGER NOT NULL,
    name      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    principal TEXT NOT NULL,
    state     BLOB NOT NULL,
    PRIMARY KEY (document, seq)
) STRICT;

-- What the updates were that are one in document_update now: the number of the first, and whose part is what.
CREATE TABLE document_merged (
    document INTEGER NOT NULL REFERENCES document (id),
    seq      INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    shares   TEXT NOT NULL, -- JSON: [{"by", "at", "seq", "inserted": [[client, clock, len]], "deleted": [...]}]
    PRIMARY KEY (document, seq)
) STRICT, WITHOUT ROWID;
