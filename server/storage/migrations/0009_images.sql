-- The id of the image that a run's container was made from.
ALTER TABLE run ADD COLUMN image TEXT;
