-- Bytes of files that are no documents, by the SHA-256 of all of them; NULL while they are being written.
CREATE TABLE blob (
    id   INTEGER PRIMARY KEY,
    hash BLOB UNIQUE
) STRICT;

-- They are in pieces; `at` is the byte where a piece begins.
CREATE TABLE blob_piece (
    blob  INTEGER NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    at    INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (blob, at)
) STRICT;

-- What of a file is kept; else whether that is because the room has no space for it.
ALTER TABLE node ADD COLUMN blob BLOB REFERENCES blob (hash);
ALTER TABLE node ADD COLUMN unkept INTEGER NOT NULL DEFAULT 0 CHECK (unkept IN (0, 1));

CREATE INDEX node_blob ON node (blob) WHERE blob IS NOT NULL;
