-- Updates that were acknowledged and whose number another update of the document has: a fault of this program or of the disk. They are kept
-- for whoever looks into it.
CREATE TABLE document_clash (
    document  INTEGER NOT NULL REFERENCES document (id),
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL, -- Unix milliseconds
    principal TEXT NOT NULL,
    data      BLOB NOT NULL
) STRICT;
