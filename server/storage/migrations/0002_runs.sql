-- Rules, runs and their steps. `seq` is the order of insertion.
CREATE TABLE rule (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    room        TEXT NOT NULL,
    name        TEXT NOT NULL,
    globs       TEXT NOT NULL, -- JSON: [glob]
    skill       TEXT NOT NULL,
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    dirty_since INTEGER -- Unix milliseconds; NULL while no edit waits
) STRICT;

CREATE INDEX rule_room ON rule (room);
CREATE INDEX rule_dirty ON rule (room, id) WHERE dirty_since IS NOT NULL;

CREATE TABLE run (
    seq               INTEGER PRIMARY KEY,
    id                TEXT NOT NULL UNIQUE,
    room              TEXT NOT NULL,
    rule              TEXT NOT NULL,
    rule_name         TEXT NOT NULL,
    skill             TEXT NOT NULL,
    trigger_key       TEXT NOT NULL,
    content_hash      TEXT,
    state             TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'passed', 'failed', 'cancelled', 'interrupted', 'error', 'superseded')),
    requested_by      TEXT NOT NULL,
    requested_by_name TEXT NOT NULL,
    queued_at         INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    message           TEXT,
    rev               INTEGER NOT NULL
) STRICT;

-- The same text never runs twice; a run that ended without a result frees its key.
CREATE UNIQUE INDEX run_trigger ON run (room, rule, trigger_key)
    WHERE state IN ('queued', 'running', 'passed', 'failed');
CREATE INDEX run_newest ON run (room, queued_at, seq);
CREATE INDEX run_unfinished ON run (queued_at, seq) WHERE state IN ('queued', 'running');

CREATE TABLE step (
    run         TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    id          TEXT NOT NULL,
    key         TEXT NOT NULL UNIQUE,
    state       TEXT NOT NULL CHECK (state IN
        ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'skipped', 'unknown')),
    command     TEXT,
    argv        TEXT NOT NULL, -- JSON: [argument]
    exit        TEXT,          -- JSON, NULL until it has ended
    started_at  INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- A run's output in pieces; `at` is the byte where a piece begins.
CREATE TABLE run_log (
    run   TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    at    INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (run, at)
) STRICT;
