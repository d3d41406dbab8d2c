-- Two roles in the database: one that migrates and owns what is ours, and one that works with it.
-- Run once, in that database, by whoever may make roles, before the first migration:
--
--   psql "$ADMIN_URL" --set ON_ERROR_STOP=1 --file deploy/postgres/roles.sql
--
-- Neither has a password yet: `\password calendar_sync_migrate`, `\password calendar_sync`.
BEGIN;

CREATE ROLE calendar_sync_migrate LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE ROLE calendar_sync LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;

CREATE SCHEMA calendar_sync AUTHORIZATION calendar_sync_migrate;
GRANT USAGE ON SCHEMA calendar_sync TO calendar_sync;

-- external_calendar_events stands in public, where the booking application looks for it.
GRANT USAGE, CREATE ON SCHEMA public TO calendar_sync_migrate;
GRANT USAGE ON SCHEMA public TO calendar_sync;

-- Also of the tables that later versions bring.
ALTER DEFAULT PRIVILEGES FOR ROLE calendar_sync_migrate IN SCHEMA calendar_sync, public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO calendar_sync;

-- Where the booking application has made the table already, migrating takes it over, which only its
-- owner may. The former owner keeps reading it, and writes to it no more.
DO $$
DECLARE
    former_owner text;
BEGIN
    SELECT tableowner INTO former_owner FROM pg_tables
     WHERE schemaname = 'public' AND tablename = 'external_calendar_events';
    IF FOUND THEN
        ALTER TABLE public.external_calendar_events OWNER TO calendar_sync_migrate;
        EXECUTE format('GRANT SELECT ON public.external_calendar_events TO %I', former_owner);
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.external_calendar_events TO calendar_sync;
    END IF;
END
$$;

COMMIT;
