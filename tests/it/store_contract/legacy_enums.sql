CREATE TYPE public.calendar_provider AS ENUM ('google', 'microsoft');
CREATE TYPE public."SyncStatus" AS ENUM ('CREATED', 'UPDATED', 'CANCELLED', 'FAILED');
CREATE TABLE public.providers (id uuid PRIMARY KEY);
CREATE TABLE public.bookings (id uuid PRIMARY KEY);
CREATE TABLE public.external_calendar_events (
    id                uuid PRIMARY KEY,
    provider_id       uuid NOT NULL REFERENCES public.providers ON DELETE CASCADE,
    calendar_provider public.calendar_provider NOT NULL,
    external_event_id text NOT NULL,
    ical_uid          text,
    booking_id        uuid NOT NULL REFERENCES public.bookings ON DELETE CASCADE,
    start_time        timestamptz NOT NULL,
    end_time          timestamptz NOT NULL,
    is_busy           boolean NOT NULL,
    checksum          character(32),
    sync_status       public."SyncStatus" NOT NULL DEFAULT 'CREATED',
    last_error        text,
    created_at        timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at        timestamptz NOT NULL,
    -- The application's own, which we know nothing of.
    seen_at           timestamptz,
    CHECK (sync_status <> 'FAILED' OR last_error IS NOT NULL)
);
CREATE UNIQUE INDEX events_key ON public.external_calendar_events
    (provider_id, calendar_provider, external_event_id);
CREATE INDEX events_failed_by_provider ON public.external_calendar_events (provider_id)
    WHERE sync_status = 'FAILED';
CREATE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END $$;
CREATE TRIGGER updated BEFORE UPDATE ON public.external_calendar_events
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
INSERT INTO public.providers SELECT md5('provider' || n)::uuid FROM generate_series(0, 6) n;
INSERT INTO public.bookings SELECT md5('booking' || n)::uuid FROM generate_series(1, 1000) n;
INSERT INTO public.external_calendar_events
SELECT md5('row' || n)::uuid, md5('provider' || n % 7)::uuid,
       (ARRAY['google', 'microsoft'])[n % 2 + 1]::public.calendar_provider, 'event-' || n,
       CASE WHEN n % 5 > 0 THEN n || '@bookings.example' END, md5('booking' || n)::uuid,
       timestamptz '2026-01-15 10:00+00' + n * interval '1 hour',
       timestamptz '2026-01-15 11:00+00' + n * interval '1 hour', n % 4 <> 2,
       CASE WHEN n % 2 = 0 THEN md5('content' || n) END,
       (ARRAY['CREATED', 'UPDATED', 'CANCELLED', 'FAILED'])[n % 4 + 1]::public."SyncStatus",
       CASE WHEN n % 4 = 3 THEN 'quota exceeded' END,
       timestamptz '2026-01-01 00:00+00' + n * interval '1 second', timestamptz '2026-01-02 00:00+00'
  FROM generate_series(1, 1000) n;
