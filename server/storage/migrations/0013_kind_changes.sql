-- Rooms that an operator made ones of another kind: who, when, and what they were before. `seq` is the order.
CREATE TABLE room_kind (
    seq       INTEGER PRIMARY KEY,
    room      TEXT NOT NULL,
    at        INTEGER NOT NULL, -- Unix milliseconds
    by        TEXT NOT NULL,
    from_kind TEXT NOT NULL,
    to_kind   TEXT NOT NULL
) STRICT;

CREATE INDEX room_kind_room ON room_kind (room, seq);
