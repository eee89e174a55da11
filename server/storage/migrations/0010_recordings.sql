-- Rooms whose terminals are recorded, and who said so.
CREATE TABLE recorded_room (
    room    TEXT NOT NULL PRIMARY KEY,
    by      TEXT NOT NULL,
    by_name TEXT NOT NULL,
    since   INTEGER NOT NULL -- Unix milliseconds
) STRICT, WITHOUT ROWID;

-- Recordings of terminals. `seq` is the order of insertion.
CREATE TABLE recording (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    room           TEXT NOT NULL,
    terminal       TEXT NOT NULL,
    number         INTEGER NOT NULL,
    opened_by      TEXT NOT NULL,
    opened_by_name TEXT NOT NULL,
    started_at     INTEGER NOT NULL, -- Unix milliseconds
    ended_at       INTEGER,          -- NULL while it goes on
    duration       INTEGER NOT NULL, -- milliseconds
    bytes          INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN
        ('recording', 'complete', 'stopped', 'too_large', 'disk_full', 'failed', 'interrupted'))
) STRICT;

CREATE INDEX recording_newest ON recording (room, seq);
CREATE INDEX recording_unfinished ON recording (seq) WHERE state = 'recording';

-- Their lines in pieces; `at` is the byte where a piece begins.
CREATE TABLE recording_piece (
    recording TEXT NOT NULL REFERENCES recording (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    lines     BLOB NOT NULL,
    UNIQUE (recording, at)
) STRICT;
