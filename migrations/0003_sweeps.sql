-- Repair (R20): what bounds a sweep. Expands only: the version before this one runs on it as well.

ALTER TABLE sweeps
    -- Events that the sweep under way has removed.
    ADD COLUMN removals integer NOT NULL DEFAULT 0,
    -- So many sweeps in a row have read changes alone.
    ADD COLUMN partial  integer NOT NULL DEFAULT 0,
    -- So many times in a row the page could not be read.
    ADD COLUMN failures integer NOT NULL DEFAULT 0;
