-- The whole schema of the embedded store. Times are microseconds since 1970 in UTC, ids and
-- digests are text, truth values 0 and 1. No key cascades: a row whose external event may still
-- stand is never dropped along with another (L29).

CREATE TABLE installation (
    id           TEXT PRIMARY KEY,
    installed_at INTEGER NOT NULL,
    schema       INTEGER NOT NULL
) STRICT;

CREATE TABLE cursors (
    topic                TEXT NOT NULL,
    "partition"          INTEGER NOT NULL,
    epoch                INTEGER NOT NULL,
    token                TEXT NOT NULL,
    next_offset          INTEGER,
    passed_to            INTEGER,
    witness_timestamp_ms INTEGER,
    witness_checksum     INTEGER,
    topic_id             TEXT,
    cluster_id           TEXT,
    log_end              INTEGER,
    log_end_at           INTEGER,
    incarnation          INTEGER NOT NULL DEFAULT 0,
    recover_until        INTEGER,
    stop_kind            TEXT,
    stop_found           TEXT,
    updated_at           INTEGER NOT NULL,
    PRIMARY KEY (topic, "partition")
) STRICT;

CREATE TABLE providers (
    provider_id TEXT PRIMARY KEY,
    destination TEXT REFERENCES connections
) STRICT;

CREATE TABLE connections (
    connection_id TEXT PRIMARY KEY,
    provider_id   TEXT NOT NULL REFERENCES providers,
    kind          TEXT NOT NULL,
    subject       TEXT NOT NULL,
    calendar      TEXT NOT NULL,
    base_url      TEXT NOT NULL,
    sealed        BLOB NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('active', 'parked', 'removing', 'removed')),
    parked_reason TEXT,
    -- So many times in a row access could not be renewed; and why, the last time.
    renewal_failures INTEGER NOT NULL DEFAULT 0,
    renewal_error TEXT,
    fill_since    INTEGER,
    fill_total    INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE lanes (
    connection_id TEXT PRIMARY KEY REFERENCES connections,
    token         TEXT,
    leased_until  INTEGER,
    rest_until    INTEGER,
    paced_until   INTEGER                              -- used up by its pace
) STRICT;

CREATE TABLE bookings (
    ical_uid    TEXT PRIMARY KEY,
    booking_id  TEXT NOT NULL UNIQUE,
    provider_id TEXT NOT NULL,
    placed      TEXT REFERENCES connections,
    version     INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    starts_at   INTEGER,
    ends_at     INTEGER,
    shown       INTEGER NOT NULL,
    state       TEXT NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX bookings_upcoming ON bookings (provider_id, ical_uid) WHERE shown;
CREATE INDEX bookings_placed ON bookings (placed);

CREATE TABLE effects (
    ical_uid               TEXT NOT NULL,              -- of an adopted event, before its booking
    connection_id          TEXT NOT NULL REFERENCES connections,
    desired_revision       INTEGER NOT NULL,
    desired_digest         TEXT,                       -- NULL: no event is wanted
    applied_revision       INTEGER,
    applied_digest         TEXT,                       -- NULL: no event is known to be there
    generation             INTEGER NOT NULL DEFAULT 0,
    burned                 INTEGER NOT NULL DEFAULT 0,
    etag                   TEXT,
    adopted_id             TEXT,                       -- an event that stood before us: generation 0
    flight_token           TEXT,
    flight_verb            TEXT,                       -- NULL: nothing is in flight
    flight_revision        INTEGER,
    flight_digest          TEXT,
    flight_body            BLOB,
    flight_at              INTEGER,
    ahead_since            INTEGER,
    not_before             INTEGER NOT NULL,
    attempts               INTEGER NOT NULL DEFAULT 0,
    rejections             INTEGER NOT NULL DEFAULT 0,
    dead                   INTEGER NOT NULL DEFAULT 0,
    last_error             TEXT,
    verify_at              INTEGER,
    verify_from_generation INTEGER,
    verify_deletes         INTEGER NOT NULL DEFAULT 0,
    verify_stage           INTEGER NOT NULL DEFAULT 0,
    updated_at             INTEGER NOT NULL,
    filling                INTEGER NOT NULL DEFAULT FALSE, -- not by an event: goes last
    seen_at                INTEGER,                    -- acknowledged, or listed under its name
    gone_at                INTEGER,                    -- told to be deleted
    trace                  TEXT,                       -- of the events that asked for it
    published_at           INTEGER,                    -- the oldest of them
    -- Rule R9, written once: whatever statement changes a part of it, this follows.
    due INTEGER NOT NULL GENERATED ALWAYS AS (
        NOT dead AND (
            flight_verb IS NOT NULL
            OR desired_digest IS NOT applied_digest
            OR (desired_digest IS NOT NULL AND desired_revision IS NOT applied_revision)
        )
    ) STORED,
    PRIMARY KEY (ical_uid, connection_id)
) STRICT;

CREATE INDEX effects_due ON effects (connection_id, not_before) WHERE due;
CREATE INDEX effects_in_flight ON effects (connection_id) WHERE flight_verb IS NOT NULL;
CREATE INDEX effects_verify ON effects (connection_id, verify_at) WHERE verify_at IS NOT NULL;

-- Rule R20: how far the sweep of each connection is.
CREATE TABLE sweeps (
    connection_id TEXT PRIMARY KEY REFERENCES connections,
    due_at        INTEGER,                             -- NULL: not planned
    since         TEXT,                                -- NULL: the next one reads all
    began_at      INTEGER,                             -- NULL: none is under way
    is_full       INTEGER NOT NULL DEFAULT TRUE,
    page          TEXT,
    pages         INTEGER NOT NULL DEFAULT 0,
    removals      INTEGER NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0,          -- of the page, in a row
    partial       INTEGER NOT NULL DEFAULT 0,          -- sweeps in a row that read changes alone
    excused       INTEGER NOT NULL DEFAULT FALSE,      -- a person has answered a halt
    halted        TEXT,
    result        TEXT,
    result_at     INTEGER
) STRICT;

-- What is otherwise in a calendar than we left it.
CREATE TABLE drift (
    connection_id TEXT NOT NULL REFERENCES connections,
    external_id   TEXT NOT NULL,
    ical_uid      TEXT,
    kind          TEXT NOT NULL,
    since         INTEGER NOT NULL,
    seen_at       INTEGER NOT NULL,
    PRIMARY KEY (connection_id, external_id)
) STRICT;

CREATE INDEX drift_by_row ON drift (connection_id, ical_uid);

-- The times are texts, as in RFC 3339, in UTC: people read this table with the shell.
CREATE TABLE external_calendar_events (
    id                TEXT PRIMARY KEY,
    provider_id       TEXT NOT NULL,
    connection_id     TEXT REFERENCES connections,     -- NULL: not adopted yet
    calendar_provider TEXT NOT NULL,
    external_event_id TEXT NOT NULL,
    ical_uid          TEXT,
    booking_id        TEXT,
    provider_uid      TEXT,
    start_time        TEXT NOT NULL,
    end_time          TEXT NOT NULL,
    is_busy           INTEGER NOT NULL,
    checksum          TEXT,
    sync_status       TEXT NOT NULL
                      CHECK (sync_status IN ('CREATED', 'UPDATED', 'CANCELLED', 'FAILED')),
    last_error        TEXT,
    generation        INTEGER NOT NULL DEFAULT 0,
    applied_revision  INTEGER NOT NULL DEFAULT 0,
    etag              TEXT,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    CHECK (end_time > start_time),
    UNIQUE (provider_id, calendar_provider, external_event_id),
    UNIQUE (connection_id, ical_uid)
) STRICT;

CREATE INDEX external_calendar_events_uid ON external_calendar_events (ical_uid);
CREATE INDEX external_calendar_events_unadopted
    ON external_calendar_events (provider_id, calendar_provider) WHERE connection_id IS NULL;

CREATE TABLE journal (
    topic       TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    "partition" INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    event_id    TEXT NOT NULL,
    ical_uid    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    decision    TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    folded_at   INTEGER NOT NULL,
    PRIMARY KEY (topic, incarnation, "partition", "offset")
) STRICT;

CREATE INDEX journal_uid ON journal (ical_uid);

CREATE TABLE budgets (
    name       TEXT PRIMARY KEY,
    used_until INTEGER NOT NULL
) STRICT;

CREATE TABLE dead_letters (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    class             TEXT NOT NULL,
    reason            TEXT NOT NULL,
    topic             TEXT,
    incarnation       INTEGER,
    "partition"       INTEGER,
    "offset"          INTEGER,
    timestamp_ms      INTEGER,
    key               BLOB,
    payload           BLOB,
    headers           TEXT,                            -- JSON: [[name, value in base64 or null], …]
    effect_uid        TEXT,
    effect_connection TEXT,
    state             TEXT NOT NULL CHECK (state IN ('open', 'redriven', 'discarded')),
    created_at        INTEGER NOT NULL,
    settled_at        INTEGER,
    CHECK ((topic IS NULL) <> (effect_uid IS NULL))
) STRICT;
-- A record is one dead letter, however often it is read.
CREATE UNIQUE INDEX dead_letters_by_record
    ON dead_letters (topic, incarnation, "partition", "offset") WHERE topic IS NOT NULL;
