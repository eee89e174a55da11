-- Appends as they came, one row for each flush of the disk, until they are put into document_update. `storage/src/log/journal.rs`
-- says what a row holds.
CREATE TABLE journal (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
