-- Repositories that rooms asked for from elsewhere and that have not arrived. A row goes when its repository is there.
CREATE TABLE fetch (
    room    TEXT NOT NULL PRIMARY KEY,
    url     TEXT NOT NULL,
    failure TEXT -- why it will not arrive; NULL while it is on its way, or was when the server ended
) STRICT, WITHOUT ROWID;
