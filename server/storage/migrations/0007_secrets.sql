-- Secrets of rooms. `sealed` can be read with the operator's key alone.
CREATE TABLE secret (
    room        TEXT NOT NULL,
    name        TEXT NOT NULL,
    given       TEXT NOT NULL, -- JSON: how a step gets it
    skills      TEXT NOT NULL, -- JSON: [skill]
    sealed      BLOB NOT NULL,
    set_by      TEXT NOT NULL,
    set_by_name TEXT NOT NULL,
    set_at      INTEGER NOT NULL, -- Unix milliseconds
    used_at     INTEGER, -- NULL: by no step yet
    PRIMARY KEY (room, name)
) STRICT, WITHOUT ROWID;

-- JSON: [name], the secrets that a rule's steps are given.
ALTER TABLE rule ADD COLUMN secrets TEXT NOT NULL DEFAULT '[]';

-- How much of a step's output a log stands for; NULL: as much as it is long.
ALTER TABLE run_log ADD COLUMN seen INTEGER;
