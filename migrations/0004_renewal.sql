-- Access that is renewed (R10): what came of it. Expands only: the version before this one runs on it
-- as well.

ALTER TABLE connections
    -- So many times in a row access could not be renewed, and nobody can do anything about it but wait
    -- or mend this service's own settings: it is tried again by itself.
    ADD COLUMN renewal_failures integer NOT NULL DEFAULT 0,
    -- Why, the last time.
    ADD COLUMN renewal_error    text;
