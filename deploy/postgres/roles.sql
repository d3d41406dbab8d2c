-- Two roles in the database: one that migrates and owns what is ours, and one that works with it.
-- Run once, in that database, before the first migration:
--
--   psql "$ADMIN_URL" --set ON_ERROR_STOP=1 --file deploy/postgres/roles.sql
--
-- By the database's owner, who has to be allowed to make roles (CREATEROLE); a superuser is not needed, and no
-- managed service gives one. Where the booking application has made the table external_calendar_events
-- already: by whoever is a member of its owner too, or may become one.
--
-- Neither role has a password yet: `\password calendar_sync_migrate`, `\password calendar_sync`.
BEGIN;

CREATE ROLE calendar_sync_migrate LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE ROLE calendar_sync LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;

-- To make what belongs to another role asks for being its member, and to have made it is not that. Until
-- the end alone.
GRANT calendar_sync_migrate TO CURRENT_USER;

CREATE SCHEMA calendar_sync AUTHORIZATION calendar_sync_migrate;
GRANT USAGE ON SCHEMA calendar_sync TO calendar_sync;

-- external_calendar_events stands in public, where the booking application looks for it.
GRANT USAGE, CREATE ON SCHEMA public TO calendar_sync_migrate;
GRANT USAGE ON SCHEMA public TO calendar_sync;

-- What has been migrated, as `migrate` would make it: here, so that who works may read it and no more.
CREATE TABLE calendar_sync._sqlx_migrations (
    version        bigint PRIMARY KEY,
    description    text NOT NULL,
    installed_on   timestamptz NOT NULL DEFAULT now(),
    success        boolean NOT NULL,
    checksum       bytea NOT NULL,
    execution_time bigint NOT NULL
);
ALTER TABLE calendar_sync._sqlx_migrations OWNER TO calendar_sync_migrate;
GRANT SELECT ON calendar_sync._sqlx_migrations TO calendar_sync;

-- All other tables, also those that later versions bring.
ALTER DEFAULT PRIVILEGES FOR ROLE calendar_sync_migrate IN SCHEMA calendar_sync, public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO calendar_sync;
ALTER DEFAULT PRIVILEGES FOR ROLE calendar_sync_migrate IN SCHEMA calendar_sync, public
    GRANT USAGE ON SEQUENCES TO calendar_sync;

-- Where the booking application has made the table already, migrating takes it over, which only its
-- owner may. The former owner keeps reading it, and writes to it no more. A trigger of the application's
-- that writes elsewhere does so as calendar_sync from now on: grant that too, or drop the trigger.
DO $$
DECLARE
    former_owner name;
    is_member boolean;
    counter regclass;
BEGIN
    SELECT tableowner INTO former_owner FROM pg_tables
     WHERE schemaname = 'public' AND tablename = 'external_calendar_events';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    is_member := pg_has_role(former_owner, 'USAGE');
    IF NOT is_member THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', former_owner);
    END IF;
    -- A default that counts (`bigserial`) asks whoever inserts for its sequence. Before the table is given
    -- away: not every such sequence goes with it.
    FOR counter IN
        SELECT DISTINCT s.oid::regclass
          FROM pg_attrdef d
          JOIN pg_depend n ON n.classid = 'pg_attrdef'::regclass AND n.objid = d.oid
                          AND n.refclassid = 'pg_class'::regclass
          JOIN pg_class s ON s.oid = n.refobjid AND s.relkind = 'S'
         WHERE d.adrelid = 'public.external_calendar_events'::regclass
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO calendar_sync', counter);
    END LOOP;
    ALTER TABLE public.external_calendar_events OWNER TO calendar_sync_migrate;
    EXECUTE format('GRANT SELECT ON public.external_calendar_events TO %I', former_owner);
    GRANT SELECT, INSERT, UPDATE, DELETE ON public.external_calendar_events TO calendar_sync;
    IF NOT is_member THEN
        EXECUTE format('REVOKE %I FROM CURRENT_USER', former_owner);
    END IF;
END
$$;

REVOKE calendar_sync_migrate FROM CURRENT_USER;

COMMIT;
