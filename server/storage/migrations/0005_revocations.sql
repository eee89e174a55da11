-- Access that was taken back. A token is named by 128 bits of a hash, in hexadecimal; the token itself is never kept.
CREATE TABLE revocation (
    kind      TEXT NOT NULL CHECK (kind IN ('user', 'token', 'document')),
    subject   TEXT NOT NULL,
    room      TEXT NOT NULL, -- empty: in every room
    reason    TEXT NOT NULL,
    principal TEXT NOT NULL, -- who did it
    at        INTEGER NOT NULL,
    expires   INTEGER, -- Unix milliseconds; NULL: never
    PRIMARY KEY (kind, subject, room)
) STRICT, WITHOUT ROWID;
