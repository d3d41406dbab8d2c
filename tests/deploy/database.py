"""The two roles of deploy/postgres/roles.sql, in a real PostgreSQL: one migrates, the other one works, and
neither does what is the other's. Made by a superuser in an empty database, and by the owner of one, as
managed services have it, where the booking application has made its table already."""

import os
import re
import uuid

from facts import BINARY, DEPLOY, fact, run, unavailable

ROLES = ("calendar_sync", "calendar_sync_migrate")

# As an application may have made it: what is not named by us counts by itself, by a sequence that goes with
# the table, and by one that does not.
THEIRS = """
    CREATE SEQUENCE public.numbers;
    CREATE TABLE public.external_calendar_events (
        id bigserial PRIMARY KEY, number bigint NOT NULL DEFAULT nextval('public.numbers'),
        provider_id uuid NOT NULL, calendar_provider text NOT NULL, external_event_id text NOT NULL,
        ical_uid text, booking_id text NOT NULL, start_time timestamptz NOT NULL, end_time timestamptz NOT NULL,
        is_busy boolean NOT NULL DEFAULT true, checksum text, sync_status text NOT NULL, last_error text,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO public.external_calendar_events
           (provider_id, calendar_provider, external_event_id, booking_id, start_time, end_time, sync_status)
    VALUES (gen_random_uuid(), 'google', 'theirs', '1', now(), now() + interval '1 hour', 'CREATED')"""

# What the statement of src/store/postgres/record.rs writes, once for a new event and once for the same one.
STANDS = """
    INSERT INTO external_calendar_events AS x
           (provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
            start_time, end_time, is_busy, checksum, sync_status, connection_id, provider_uid,
            generation, etag, applied_revision)
    VALUES (gen_random_uuid(), 'google', 'ours', 'uid', '2', now(), now() + interval '1 hour', true, '0',
            'CREATED', '00000000-0000-0000-0000-000000000001', NULL, 0, NULL, 0)
    ON CONFLICT (connection_id, ical_uid) DO UPDATE SET sync_status = 'UPDATED'"""

# Of the table that says what has been migrated.
COLUMNS = """
    SELECT string_agg(concat_ws(' ', a.attname, a.atttypid::regtype, a.attnotnull, pg_get_expr(d.adbin, d.adrelid)),
                      ', ' ORDER BY a.attnum)
      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = 'calendar_sync._sqlx_migrations'::regclass AND a.attnum > 0"""


def check():
    server = os.environ.get("TEST_POSTGRES_URL")
    if not server or not BINARY.exists():
        unavailable("roles", "they are tried in tests/run's PostgreSQL, with the binary that it has built")
        return
    suffix = uuid.uuid4().hex
    owner, application = f"owner_{suffix}", f"application_{suffix}"
    roles = (*ROLES, application, owner)
    # Roles are the whole server's: a run that was cut off may have left them.
    drop(server, roles)
    database = re.sub(r"/[^/]*$", f"/roles_{suffix}", server)
    try:
        psql(server, "--command", f"CREATE DATABASE roles_{suffix}")
        whole("superuser, empty database", database, database)
        answer("roles: what says what has been migrated is as migrating makes it", database, COLUMNS,
               as_migrating_makes_it(server))
        psql(server, "--command", f"DROP DATABASE roles_{suffix} WITH (FORCE)")
        drop(server, ROLES)

        psql(server, "--command", f"CREATE ROLE {owner} LOGIN CREATEROLE")
        psql(server, "--command", f"CREATE DATABASE roles_{suffix} OWNER {owner}")
        # Before version 15, who owns the database does not own its `public`.
        psql(database, "--command", f"ALTER SCHEMA public OWNER TO {owner}")
        admin, theirs = as_role(database, owner), as_role(database, application)
        psql(admin, "--command", f"CREATE ROLE {application} LOGIN; GRANT CREATE ON SCHEMA public TO {application}")
        psql(theirs, "--command", THEIRS)
        whole("owner of the database, the application's table", database, admin)
        taken(database, theirs, (application, owner))
    finally:
        psql(server, "--command", f"DROP DATABASE IF EXISTS roles_{suffix} WITH (FORCE)")
        drop(server, roles)


def drop(server, roles):
    for role in roles:
        psql(server, "--command", f"DROP ROLE IF EXISTS {role}")


def as_role(database, role):
    return re.sub("//[^@/]*@", f"//{role}@", database)


def whole(case, database, admin):
    """Makes the roles as `admin`; then everything that holds of them, whoever has made them."""
    # A table of the booking application.
    psql(database, "--command", "CREATE TABLE public.others (id int)")
    done = psql(admin, "--file", DEPLOY / "postgres/roles.sql")
    if not fact(f"roles: {case}: they are made", done.returncode == 0, done.stdout):
        return
    worker, migrating = (as_role(database, role) for role in ROLES)
    done = ours(migrating, "migrate")
    fact(f"roles: {case}: one migrates", done.returncode == 0, done.stdout)
    for words in ("cursor show", "connections list", "dead-letters list"):
        done = ours(worker, *words.split())
        fact(f"roles: {case}: the other one works: {words}", done.returncode == 0, done.stdout)
    for time in ("made", "changed"):
        done = psql(worker, "--command", "SET search_path = calendar_sync, public", "--command", STANDS)
        fact(f"roles: {case}: the other one works: an event is {time}", done.returncode == 0, done.stdout)
    answer(f"roles: {case}: who works owns nothing", database,
           "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = 'calendar_sync'", "0")
    answer(f"roles: {case}: who works reaches each of our tables", database, """
        SELECT string_agg(schemaname || '.' || tablename, ' ') FROM pg_tables
         WHERE (schemaname = 'calendar_sync' AND tablename <> '_sqlx_migrations'
                OR tablename = 'external_calendar_events')
           AND NOT (has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'SELECT')
                AND has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'INSERT')
                AND has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'UPDATE')
                AND has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'DELETE'))""", "")
    for sql in ("CREATE TABLE calendar_sync.mine ()", "DROP TABLE calendar_sync.journal",
                "TRUNCATE calendar_sync.journal", "ALTER TABLE calendar_sync.journal ADD mine int",
                "UPDATE calendar_sync._sqlx_migrations SET success = false",
                "DELETE FROM calendar_sync._sqlx_migrations",
                "SELECT * FROM public.others"):
        done = psql(worker, "--command", sql)
        fact(f"roles: {case}: who works may not: {sql}", "denied" in done.stdout or "must be owner" in done.stdout,
             done.stdout)
    done = psql(migrating, "--command", "SELECT * FROM public.others")
    fact(f"roles: {case}: nor does who migrates read what is not ours", "denied" in done.stdout, done.stdout)
    # What PostgreSQL 16 gives by itself to whoever makes a role lets nobody act as it.
    version = int(psql(database, "--command", "SHOW server_version_num").stdout)
    kept = "AND (inherit_option OR set_option)" if version >= 160000 else ""
    answer(f"roles: {case}: nobody stays a member of them", database, f"""
        SELECT count(*) FROM pg_auth_members
         WHERE pg_get_userbyid(roleid) IN ('calendar_sync', 'calendar_sync_migrate') {kept}""", "0")


def taken(database, theirs, others):
    """The application's table is ours now, with its rows, which its former owner still reads."""
    answer("roles: the application's table belongs to who migrates", database,
           "SELECT tableowner FROM pg_tables WHERE tablename = 'external_calendar_events'", "calendar_sync_migrate")
    count = "SELECT count(*) FROM external_calendar_events WHERE external_event_id = 'theirs'"
    answer("roles: its rows are still there, and its former owner reads them", theirs, count, "1")
    done = psql(theirs, "--command", "DELETE FROM external_calendar_events")
    fact("roles: its former owner writes to it no more", "denied" in done.stdout, done.stdout)
    application, owner = others
    answer("roles: the former owner's member is one no more", database,
           f"SELECT pg_has_role('{owner}', '{application}', 'USAGE')", "f")


def as_migrating_makes_it(server):
    """The columns of what says what has been migrated, where nothing was prepared."""
    name = f"roles_{uuid.uuid4().hex}"
    psql(server, "--command", f"CREATE DATABASE {name}")
    try:
        bare = re.sub(r"/[^/]*$", f"/{name}", server)
        ours(bare, "migrate")
        return psql(bare, "--command", COLUMNS).stdout.strip()
    finally:
        psql(server, "--command", f"DROP DATABASE {name} WITH (FORCE)")


def answer(name, database, sql, wanted):
    """A fact: this is what the statement answers, and no error."""
    done = psql(database, "--command", sql)
    fact(name, done.returncode == 0 and done.stdout.strip() == wanted, done.stdout)


def psql(database, *arguments):
    program = os.environ["DEPLOY_PSQL"]
    return run(program, "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set", "ON_ERROR_STOP=1",
               *arguments, database)


def ours(database, *arguments):
    return run(BINARY, *arguments, env={"DATABASE_URL": database, "LOG_LEVEL": "warn"})
