-- Repair (R20): what bounds a sweep. Expands only: the version before this one runs on it as well.

ALTER TABLE sweeps
    -- Events that the sweep under way has removed.
    ADD COLUMN removals integer NOT NULL DEFAULT 0,
    -- So many sweeps in a row have read changes alone.
    ADD COLUMN partial  integer NOT NULL DEFAULT 0,
    -- So many times in a row the page could not be read.
    ADD COLUMN failures integer NOT NULL DEFAULT 0;

-- A row that is written checks its foreign key by a lock on the connection, which whoever changes the
-- connection holds while he waits for its lane: and the lane is what a sweep holds first (R16).
-- Connections are never deleted, and these rows are written under their lanes alone.
ALTER TABLE sweeps DROP CONSTRAINT sweeps_connection_id_fkey;
ALTER TABLE drift DROP CONSTRAINT drift_connection_id_fkey;

-- The version before this one took the hour away while sweeps were off, and nothing gave it back.
UPDATE sweeps SET due_at = clock_timestamp() + random() * interval '6 hours' WHERE due_at IS NULL;
