CREATE TABLE public.external_calendar_events (
    id                varchar(36) PRIMARY KEY,
    provider_id       uuid NOT NULL,
    calendar_provider varchar(20) NOT NULL CHECK (calendar_provider IN ('google', 'microsoft')),
    external_event_id varchar(255) NOT NULL,
    ical_uid          varchar(255),
    booking_id        varchar(64),
    start_time        timestamptz NOT NULL,
    end_time          timestamptz NOT NULL,
    is_busy           boolean NOT NULL DEFAULT true,
    checksum          varchar(64),
    sync_status       varchar(20) NOT NULL DEFAULT 'CREATED'
        CONSTRAINT status_is_known
        CHECK (sync_status IN ('CREATED', 'UPDATED', 'CANCELLED', 'FAILED')),
    last_error        varchar(500) NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider_id, calendar_provider, external_event_id),
    CONSTRAINT a_time CHECK (end_time > start_time)
);
INSERT INTO public.external_calendar_events
SELECT md5('row' || n)::uuid::text, md5('provider' || n % 7)::uuid,
       CASE WHEN n % 2 = 0 THEN 'google' ELSE 'microsoft' END, 'event-' || n,
       CASE WHEN n % 5 > 0 THEN n || '@bookings.example' END,
       CASE WHEN n % 3 > 0 THEN md5('booking' || n)::uuid::text END,
       timestamptz '2026-01-15 10:00+00' + n * interval '1 hour',
       timestamptz '2026-01-15 11:00+00' + n * interval '1 hour', n % 4 <> 2,
       CASE WHEN n % 2 = 0 THEN md5('content' || n) END,
       (ARRAY['CREATED', 'UPDATED', 'CANCELLED', 'FAILED'])[n % 4 + 1],
       CASE WHEN n % 4 = 3 THEN 'quota exceeded' ELSE '' END,
       timestamptz '2026-01-01 00:00+00' + n * interval '1 second', timestamptz '2026-01-02 00:00+00'
  FROM generate_series(1, 1000) n;
