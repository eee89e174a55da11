-- Rooms whose calls are end-to-end encrypted, and who said so. Keys are never here.
CREATE TABLE encrypted_room (
    room    TEXT NOT NULL PRIMARY KEY,
    by      TEXT NOT NULL,
    by_name TEXT NOT NULL,
    since   INTEGER NOT NULL -- Unix milliseconds
) STRICT, WITHOUT ROWID;
