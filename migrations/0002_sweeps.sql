-- Repair (R20): how far the sweep of each connection is, what the calendar was last seen to hold, and
-- what is otherwise than we left it. Expands only: the version before this one runs on it as well.

CREATE TABLE sweeps (
    connection_id uuid PRIMARY KEY REFERENCES connections,
    -- NULL: not planned.
    due_at        timestamptz,
    -- Where the calendar's changes were read to; NULL: the next one reads all that there is.
    since         text,
    -- NULL: none is under way.
    began_at      timestamptz,
    is_full       boolean NOT NULL DEFAULT true,
    page          text,
    pages         integer NOT NULL DEFAULT 0,
    -- A person has answered a halt: the sweep under way, or the next one, does not halt.
    excused       boolean NOT NULL DEFAULT false,
    halted        text,
    -- What came of the last one, for people.
    result        text,
    result_at     timestamptz
) WITH (fillfactor = 50);

-- Connections that are there already: their first sweeps are spread over the default interval.
INSERT INTO sweeps (connection_id, due_at)
SELECT connection_id, clock_timestamp() + random() * interval '6 hours' FROM connections
 WHERE state <> 'removed';

ALTER TABLE effects
    -- When the calendar was last known to hold the event: acknowledged, or listed under its name.
    ADD COLUMN seen_at timestamptz,
    -- When the calendar last told of its deletion.
    ADD COLUMN gone_at timestamptz;

-- Bounded for each connection; a row goes once it is settled.
CREATE TABLE drift (
    connection_id uuid NOT NULL REFERENCES connections,
    external_id   text COLLATE "C" NOT NULL,
    -- Of a copy: what its marker says. NULL: nothing that can be told.
    ical_uid      text COLLATE "C",
    kind          text NOT NULL,
    since         timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (connection_id, external_id)
);
CREATE INDEX drift_by_row ON drift (connection_id, ical_uid);
