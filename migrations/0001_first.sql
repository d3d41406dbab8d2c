-- What calendar-sync keeps: how far the log was read, one state per booking, what each calendar
-- should hold and is known to hold, and what could not be understood.
--
-- Rows are locked in the order: cursors, providers and connections, lanes, bookings, effects,
-- each sorted by key. What is sorted by has the order of bytes (COLLATE "C"), as in the program,
-- whatever the database's language is.

-- One row: who we are. A copy of this database must not send (R17).
CREATE TABLE installation (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id           uuid NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The server's system identifier and timeline: another one may have lost its tail (R18).
    incarnation  text
);

-- R1 to R3: the next offset of each partition, and who may move it.
CREATE TABLE cursors (
    topic                text NOT NULL,
    partition            integer NOT NULL,
    epoch                bigint NOT NULL,
    token                uuid NOT NULL,
    next_offset          bigint,
    -- Up to here nothing is delivered any more: transaction markers, aborted records.
    passed_to            bigint,
    witness_timestamp_ms bigint,
    witness_checksum     bigint,
    topic_id             text,
    cluster_id           text,
    log_end              bigint,
    -- When that was last asked of the broker, no record having told of it (R7).
    log_end_at           timestamptz,
    incarnation          integer NOT NULL DEFAULT 0,
    recover_until        bigint,
    stop_kind            text,
    stop_found           text,
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Where each provider's bookings go. Planning reads it FOR SHARE; changing it takes FOR UPDATE (R8).
CREATE TABLE providers (
    provider_id uuid PRIMARY KEY,
    destination uuid
);

CREATE TABLE connections (
    connection_id uuid PRIMARY KEY,
    provider_id   uuid NOT NULL REFERENCES providers,
    kind          text NOT NULL CHECK (kind IN ('google', 'microsoft', 'caldav')),
    subject       text NOT NULL,
    calendar      text NOT NULL,
    base_url      text NOT NULL,
    sealed        bytea NOT NULL,
    state         text NOT NULL CHECK (state IN ('active', 'parked', 'removing', 'removed')),
    parked_reason text,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX connections_by_provider ON connections (provider_id);

-- R10: who may send on a connection. Apart from `connections`, so that leasing and planning do
-- not wait for each other.
CREATE TABLE lanes (
    connection_id uuid PRIMARY KEY REFERENCES connections,
    token         uuid,
    leased_until  timestamptz,
    rest_until    timestamptz
) WITH (fillfactor = 50);

-- R5 to R7: one state per booking. `state` is the fold's own; the columns repeat what is searched.
CREATE TABLE bookings (
    ical_uid    text COLLATE "C" PRIMARY KEY,
    booking_id  text COLLATE "C" NOT NULL UNIQUE,
    provider_id uuid NOT NULL,
    placed      uuid,
    version     bigint NOT NULL,
    revision    bigint NOT NULL,
    shown_digest bytea,
    starts_at   timestamptz,
    ends_at     timestamptz,
    state       text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
-- Of columns that events seldom change: an index on one that they do (ends_at, shown_digest, or a
-- condition on it) would make every update write every index anew (no heap-only tuples).
CREATE INDEX bookings_by_provider ON bookings (provider_id);
CREATE INDEX bookings_by_placed ON bookings (placed) WHERE placed IS NOT NULL;

-- R9: the outbox. One row for each booking and connection, for ever: what is desired, what is in
-- flight, what was acknowledged. `due` follows from these; it stands there for its index.
CREATE TABLE effects (
    connection_id          uuid NOT NULL REFERENCES connections,
    ical_uid               text COLLATE "C" NOT NULL,
    desired_revision       bigint NOT NULL,
    desired_digest         bytea,
    applied_revision       bigint,
    applied_digest         bytea,
    generation             integer NOT NULL DEFAULT 0,
    burned                 boolean NOT NULL DEFAULT false,
    etag                   text,
    -- Of an event that stood before us: the name of generation 0.
    adopted_id             text,
    flight_token           uuid,
    flight_verb            text,
    flight_revision        bigint,
    flight_digest          bytea,
    flight_body            bytea,
    flight_at              timestamptz,
    -- When the calendar was first seen to be ahead of what is in flight or applied (R7).
    ahead_since            timestamptz,
    due                    boolean NOT NULL GENERATED ALWAYS AS (
        NOT dead AND (
            flight_verb IS NOT NULL
            OR desired_digest IS DISTINCT FROM applied_digest
            OR (desired_digest IS NOT NULL AND desired_revision IS DISTINCT FROM applied_revision)
        )
    ) STORED,
    not_before             timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts               integer NOT NULL DEFAULT 0,
    rejections             integer NOT NULL DEFAULT 0,
    dead                   boolean NOT NULL DEFAULT false,
    last_error             text,
    verify_at              timestamptz,
    verify_from_generation integer NOT NULL DEFAULT 0,
    verify_deletes         boolean NOT NULL DEFAULT false,
    verify_stage           integer NOT NULL DEFAULT 0,
    updated_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (connection_id, ical_uid)
) WITH (fillfactor = 70);
CREATE INDEX effects_due ON effects (connection_id, not_before) WHERE due;
-- For a person who asks about one booking.
CREATE INDEX effects_by_booking ON effects (ical_uid);
CREATE INDEX effects_verify ON effects (connection_id, verify_at)
    WHERE verify_at IS NOT NULL AND NOT due AND NOT dead;

-- The booking application's own table (names and meanings are its), with our columns added. Says
-- only what a calendar has acknowledged. No cascade: a row outlives what it came from for as long
-- as its external event may stand (L29).
CREATE TABLE external_calendar_events (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    provider_id       uuid NOT NULL,
    calendar_provider text NOT NULL,
    external_event_id text NOT NULL,
    ical_uid          text,
    booking_id        text,
    start_time        timestamptz NOT NULL,
    end_time          timestamptz NOT NULL,
    is_busy           boolean NOT NULL DEFAULT true,
    checksum          text,
    sync_status       text NOT NULL
        CHECK (sync_status IN ('CREATED', 'UPDATED', 'CANCELLED', 'FAILED')),
    last_error        text,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    connection_id     uuid,
    provider_uid      text,
    generation        integer NOT NULL DEFAULT 0,
    etag              text,
    applied_revision  bigint NOT NULL DEFAULT 0,
    UNIQUE (provider_id, calendar_provider, external_event_id),
    UNIQUE (ical_uid, connection_id),
    CHECK (end_time > start_time)
);
CREATE INDEX external_calendar_events_by_booking ON external_calendar_events (booking_id);

-- What became of each event, for those who ask.
CREATE TABLE journal (
    topic       text NOT NULL,
    incarnation integer NOT NULL,
    partition   integer NOT NULL,
    record_offset bigint NOT NULL,
    event_id    uuid NOT NULL,
    ical_uid    text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    decision    text NOT NULL,
    revision    bigint NOT NULL,
    folded_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX journal_by_uid ON journal (ical_uid);

-- What could not be understood, whole, until somebody has seen to it.
CREATE TABLE dead_letters (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    class             text NOT NULL,
    reason            text NOT NULL,
    topic             text,
    incarnation       integer,
    partition         integer,
    record_offset     bigint,
    timestamp_ms      bigint,
    key               bytea,
    payload           bytea,
    headers           jsonb,
    effect_uid        text,
    effect_connection uuid,
    state             text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'redriven', 'discarded')),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at        timestamptz,
    CHECK ((topic IS NULL) <> (effect_uid IS NULL))
);
-- A record is one dead letter, however often it is read.
CREATE UNIQUE INDEX dead_letters_by_record
    ON dead_letters (topic, incarnation, partition, record_offset) WHERE topic IS NOT NULL;
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE state = 'open';
