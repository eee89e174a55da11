-- What the room's sandbox may use follows from its kind, and how much it shares with others' from whose it is. Set once, when it is created.
ALTER TABLE room ADD COLUMN kind TEXT NOT NULL DEFAULT 'default';
ALTER TABLE room ADD COLUMN organisation TEXT; -- NULL: nobody's

CREATE INDEX room_organisation ON room (organisation) WHERE organisation IS NOT NULL;
