-- Where a change came from, kept with the effect that it asks for. Expands only, and at once: two columns
-- without a default. The version before this one runs on it as well: it asks for effects without saying
-- where they come from, so that one which was owed before keeps its former origin and one which was
-- settled shows that of what was asked for before it, until this version asks for it again; nothing but
-- traces and their latency tells of it.
ALTER TABLE effects
    -- The W3C `traceparent` of each event that asked for it while it was owed: the newest first, at most
    -- 8, a space between each two.
    ADD COLUMN trace text,
    -- When the oldest event that asked for it while it was owed was published, by its record.
    ADD COLUMN published_at timestamptz;
