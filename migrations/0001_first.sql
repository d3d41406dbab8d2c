-- What calendar-sync keeps: how far the log was read, one state per booking, what each calendar
-- should hold and is known to hold, and what could not be understood.
--
-- Rows are locked in the order: cursors, providers and connections, lanes, bookings, effects,
-- each sorted by key. What is sorted by has the order of bytes (COLLATE "C"), as in the program,
-- whatever the database's language is.
--
-- It runs with the search_path `calendar_sync, public`: all that is not qualified is made in the
-- schema calendar_sync, apart from the booking application's own tables of such names. Its table
-- external_calendar_events comes last. Any refusal undoes all of it.

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
CREATE INDEX effects_adopted ON effects (ical_uid) WHERE adopted_id IS NOT NULL;
CREATE INDEX effects_verify ON effects (connection_id, verify_at)
    WHERE verify_at IS NOT NULL AND NOT due AND NOT dead;

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

-- The booking application's own table (names and meanings are its), with our columns added. Says
-- only what a calendar has acknowledged. No cascade: a row outlives what it came from for as long
-- as its external event may stand (L29). It stands in `public`, where operators look for it; where
-- it stands already it is taken over, and no row of it is lost or changed.
DO $$
DECLARE
    found text;
BEGIN
    SELECT string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname) INTO found
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'external_calendar_events' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND n.nspname <> 'public' AND n.nspname !~ '^pg_'
       -- A role's own schema comes before `public`, and so does ours.
       AND (n.nspname IN (current_user, 'calendar_sync')
            OR to_regclass('public.external_calendar_events') IS NULL);
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'there is an external_calendar_events in the schema %, and it has to be in '
            'public, alone: ALTER TABLE … SET SCHEMA public, or rename it', found;
    END IF;
    -- "$user" is first in the default search_path: under a role of that name, the booking
    -- application would find our tables in the place of its own.
    SELECT string_agg(theirs.oid::regclass::text, ', ' ORDER BY theirs.relname) INTO found
      FROM pg_class theirs JOIN pg_class ours USING (relname)
     WHERE theirs.relnamespace = to_regnamespace('public') AND theirs.relkind IN ('r', 'p')
       AND ours.relnamespace = 'calendar_sync'::regnamespace AND ours.relkind = 'r'
       AND pg_get_userbyid(theirs.relowner) = 'calendar_sync';
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'the role calendar_sync owns %: with its search_path ("$user", public) it '
            'would find the tables of the schema calendar_sync instead; let another role own them',
            found;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS public.external_calendar_events (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    provider_id       uuid NOT NULL,
    calendar_provider text NOT NULL,
    external_event_id text NOT NULL,
    ical_uid          text,
    booking_id        text NOT NULL,
    start_time        timestamptz NOT NULL,
    end_time          timestamptz NOT NULL,
    is_busy           boolean NOT NULL DEFAULT true,
    checksum          text,
    sync_status       text NOT NULL,
    last_error        text,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What cannot be taken over is refused, with all that is wrong at once.
DO $$
DECLARE
    it CONSTANT regclass := 'public.external_calendar_events';
    theirs CONSTANT text[] := ARRAY['id', 'provider_id', 'calendar_provider', 'external_event_id',
        'ical_uid', 'booking_id', 'start_time', 'end_time', 'is_busy', 'checksum', 'sync_status',
        'last_error', 'created_at', 'updated_at'];
    ours CONSTANT text[] := ARRAY['connection_id', 'provider_uid', 'generation', 'etag',
        'applied_revision'];
    wrong text[];
    strange text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = it AND relkind = 'r' AND NOT relispartition)
       OR EXISTS (SELECT FROM pg_inherits WHERE it IN (inhrelid, inhparent)) THEN
        wrong := ARRAY['it is not an ordinary table (a view, partitioned or inherited)'];
    ELSIF NOT EXISTS (SELECT FROM pg_class WHERE oid = it AND pg_has_role(relowner, 'USAGE')) THEN
        wrong := ARRAY[format('it does not belong to %s: migrate as its owner', current_user)];
    ELSE
        LOCK TABLE public.external_calendar_events IN ACCESS EXCLUSIVE MODE;
        SELECT array_agg(what ORDER BY what) INTO wrong FROM (
            SELECT 'it lacks the column ' || name AS what FROM unnest(theirs) name
             WHERE NOT EXISTS (SELECT FROM pg_attribute a
                                WHERE a.attrelid = it AND a.attname = name AND NOT a.attisdropped)
            UNION ALL
            SELECT format('%I is %s, not %s', name, format_type(a.atttypid, a.atttypmod), wanted)
                   || CASE WHEN a.atttypid = 'timestamp'::regtype
                      THEN format(' (if it is in UTC: ALTER TABLE %s ALTER %I TYPE timestamptz '
                                  'USING %2$I AT TIME ZONE ''UTC'')', it, name)
                      ELSE '' END
              FROM (VALUES ('provider_id', 'uuid'), ('start_time', 'timestamptz'),
                           ('end_time', 'timestamptz'), ('created_at', 'timestamptz'),
                           ('updated_at', 'timestamptz'), ('is_busy', 'boolean'),
                           ('connection_id', 'uuid'), ('generation', 'integer'),
                           ('applied_revision', 'bigint')) AS needed (name, wanted)
              JOIN pg_attribute a ON a.attrelid = it AND a.attname = name AND NOT a.attisdropped
             WHERE a.atttypid <> wanted::regtype
            UNION ALL
            -- All of ours are there if it was taken over before, and our schema was dropped since.
            SELECT format('it has a column %s of its own, as calendar-sync would add it',
                          string_agg(a.attname, ', ' ORDER BY a.attname))
              FROM pg_attribute a
             WHERE a.attrelid = it AND a.attname = ANY (ours) AND NOT a.attisdropped
            HAVING count(*) BETWEEN 1 AND cardinality(ours) - 1
            UNION ALL
            SELECT format('%I is generated', a.attname) FROM pg_attribute a
             WHERE a.attrelid = it AND a.attgenerated <> '' AND a.attname = ANY (theirs || ours)
            UNION ALL
            SELECT format('%I is NOT NULL and has no default', a.attname) FROM pg_attribute a
              JOIN pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = it AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
               AND NOT a.atthasdef AND a.attidentity = '' AND a.attname <> ALL (theirs[2:] || ours)
               AND NOT (a.attname = 'id' AND (t.oid = 'uuid'::regtype OR t.typcategory = 'S'))
            UNION ALL
            -- A booking that moves has two rows; so has an event that had to be made anew.
            SELECT format('%s allows one row where two may be needed: drop it, or make it no longer '
                          'unique', i.indexrelid::regclass)
              FROM pg_index i
             WHERE i.indrelid = it AND (i.indisunique OR i.indisexclusion)
               AND NOT EXISTS (
                    SELECT FROM pg_attribute a
                     WHERE a.attrelid = it AND a.attnum = ANY (i.indkey)
                       AND a.attname IN ('id', 'external_event_id', 'connection_id'))
            UNION ALL
            SELECT format('the rule %I changes what writing to it does', r.rulename)
              FROM pg_rewrite r WHERE r.ev_class = it
            UNION ALL
            SELECT format('row level security hides rows of it from %s (ALTER TABLE %s DISABLE ROW '
                          'LEVEL SECURITY, or a role with BYPASSRLS)', current_user, it)
             WHERE row_security_active(it)
            UNION ALL
            -- In our sessions these names are our tables.
            SELECT format('the trigger %I calls %s, which names a table as calendar_sync has one: '
                          'ALTER FUNCTION %2$s SET search_path = public', g.tgname,
                          p.oid::regprocedure)
              FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
             WHERE g.tgrelid = it AND NOT g.tgisinternal
               AND NOT EXISTS (SELECT FROM unnest(p.proconfig) set WHERE set ^@ 'search_path=')
               AND EXISTS (SELECT FROM pg_class c
                            WHERE c.relnamespace = 'calendar_sync'::regnamespace
                              AND c.relkind = 'r'
                              AND p.prosrc ~* format('(^|[^.\w"])"?%s\M', c.relname))
        ) AS reasons;
    END IF;
    IF wrong IS NULL THEN
        -- The text of this depends on the column being there.
        EXECUTE $sql$
            SELECT string_agg(DISTINCT COALESCE(sync_status::text, 'NULL'), ', ')
              FROM public.external_calendar_events
             WHERE (sync_status::text IN ('CREATED', 'UPDATED', 'CANCELLED', 'FAILED')) IS NOT TRUE
        $sql$ INTO strange;
        IF strange IS NOT NULL THEN
            wrong := ARRAY[format('the sync_status of some rows is %s', strange)];
        END IF;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the table % cannot be taken over, and was left as it is: %',
            it, array_to_string(wrong, '; ');
    END IF;
END $$;

-- Makes it ours. A view, a policy or a trigger that depends on the type of a column is named.
DO $$
DECLARE
    it CONSTANT regclass := 'public.external_calendar_events';
    change record;
    types text;
    after text[] := '{}';
    enums text;
    message text;
    detail text;
BEGIN
    -- Foreign keys (no cascade may drop a row), and what allows only the calendars and the
    -- statuses that the application knew.
    FOR change IN
        SELECT c.conname FROM pg_constraint c
         WHERE c.conrelid = it
           AND (c.contype = 'f'
                OR c.contype = 'c' AND c.conkey <@ ARRAY(
                    SELECT a.attnum FROM pg_attribute a
                     WHERE a.attrelid = it AND a.attname IN ('calendar_provider', 'sync_status')))
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it, change.conname);
    END LOOP;

    -- What compares such a column with a value of its enum type would not with text: it is made
    -- anew afterwards, for text. The columns: of an enum, and not yet text.
    SELECT '::(' || string_agg(DISTINCT regexp_replace(format_type(t.oid, NULL), '(\W)', '\\\1', 'g'),
                               '|') || ')(?![\w."])' INTO enums
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid AND t.typtype = 'e'
     WHERE a.attrelid = it AND NOT a.attisdropped
       AND a.attname IN ('calendar_provider', 'sync_status');
    FOR change IN
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', it, c.conname) AS drop,
               format('ALTER TABLE %s ADD CONSTRAINT %I %s', it, c.conname,
                      regexp_replace(pg_get_constraintdef(c.oid), enums, '::text', 'g')) AS make
          FROM pg_constraint c
         WHERE c.conrelid = it AND c.contype = 'c' AND pg_get_constraintdef(c.oid) ~ enums
        UNION ALL
        SELECT format('DROP INDEX %s', i.indexrelid::regclass),
               regexp_replace(pg_get_indexdef(i.indexrelid), enums, '::text', 'g')
          FROM pg_index i
         WHERE i.indrelid = it AND pg_get_indexdef(i.indexrelid) ~ enums
        UNION ALL
        SELECT format('ALTER TABLE %s ALTER %I DROP DEFAULT', it, a.attname),
               format('ALTER TABLE %s ALTER %I SET DEFAULT %s', it, a.attname,
                      regexp_replace(pg_get_expr(d.adbin, d.adrelid), enums, '::text', 'g'))
          FROM pg_attrdef d
          JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
         WHERE d.adrelid = it AND pg_get_expr(d.adbin, d.adrelid) ~ enums
    LOOP
        EXECUTE change.drop;
        after := after || change.make;
    END LOOP;

    SELECT string_agg(format('ALTER %I TYPE text USING %1$I::text', a.attname), ', ') INTO types
      FROM pg_attribute a
     WHERE a.attrelid = it AND NOT a.attisdropped AND a.atttypid <> 'text'::regtype
       AND a.attname IN ('calendar_provider', 'external_event_id', 'ical_uid', 'booking_id',
                         'checksum', 'sync_status', 'last_error', 'provider_uid', 'etag');
    IF types IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s %s', it, types);
    END IF;
    FOREACH message IN ARRAY after LOOP
        EXECUTE message;
    END LOOP;

    -- What the application set by itself, and we leave to the table.
    FOR change IN
        SELECT a.attname, CASE WHEN a.attname <> 'id' THEN 'clock_timestamp()'
                               WHEN a.atttypid = 'uuid'::regtype THEN 'gen_random_uuid()'
                               ELSE 'gen_random_uuid()::text' END AS value
          FROM pg_attribute a
         WHERE a.attrelid = it AND a.attname IN ('id', 'created_at', 'updated_at')
           AND NOT a.atthasdef AND a.attidentity = ''
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT %s', it, change.attname, change.value);
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = it AND c.contype = 'p') THEN
        ALTER TABLE public.external_calendar_events ADD PRIMARY KEY (id);
    END IF;
    -- No connection: a row of the application's, of which we have not yet made ours.
    ALTER TABLE public.external_calendar_events
        ALTER last_error DROP NOT NULL,
        ALTER sync_status SET NOT NULL,
        ADD COLUMN IF NOT EXISTS connection_id    uuid,
        ADD COLUMN IF NOT EXISTS provider_uid     text,
        ADD COLUMN IF NOT EXISTS generation       integer NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS etag             text,
        ADD COLUMN IF NOT EXISTS applied_revision bigint NOT NULL DEFAULT 0,
        ADD CHECK (sync_status IN ('CREATED', 'UPDATED', 'CANCELLED', 'FAILED'));

    -- Each of these only where there is none like it.
    IF NOT EXISTS (SELECT FROM pg_constraint c
                    WHERE c.conrelid = it AND c.contype = 'c' AND c.convalidated
                      AND pg_get_constraintdef(c.oid) = 'CHECK ((end_time > start_time))') THEN
        ALTER TABLE public.external_calendar_events ADD CHECK (end_time > start_time);
    END IF;
    FOR change IN
        SELECT columns FROM (VALUES (ARRAY['provider_id', 'calendar_provider', 'external_event_id']),
                                    (ARRAY['ical_uid', 'connection_id'])) AS wanted (columns)
         WHERE NOT EXISTS (
            SELECT FROM pg_index i
             WHERE i.indrelid = it AND i.indisunique AND i.indisvalid AND i.indimmediate
               AND i.indpred IS NULL AND i.indexprs IS NULL
               AND i.indnkeyatts = cardinality(columns)
               AND columns <@ ARRAY(
                    SELECT a.attname::text FROM pg_attribute a
                     WHERE a.attrelid = it
                       AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])))
    LOOP
        EXECUTE format('ALTER TABLE %s ADD UNIQUE (%s)', it, array_to_string(change.columns, ', '));
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'the table % cannot be taken over, and was left as it is: %', it,
        message || COALESCE(' (' || NULLIF(detail, '') || ')', '') USING ERRCODE = SQLSTATE;
END $$;

CREATE INDEX IF NOT EXISTS external_calendar_events_by_booking
    ON public.external_calendar_events (booking_id);
-- What still has to be found in the calendars and made ours.
CREATE INDEX IF NOT EXISTS external_calendar_events_unadopted
    ON public.external_calendar_events (provider_id, calendar_provider)
    WHERE connection_id IS NULL AND sync_status <> 'CANCELLED';
-- What was known of a column is gone with its type.
ANALYZE public.external_calendar_events;
