"""The two roles of deploy/postgres/roles.sql, in a real PostgreSQL: one migrates, the other one works, and
neither does what is the other's."""

import os
import re
import uuid

from facts import BINARY, DEPLOY, fact, run, unavailable

ROLES = ("calendar_sync", "calendar_sync_migrate")


def check():
    server = os.environ.get("TEST_POSTGRES_URL")
    if not server or not BINARY.exists():
        unavailable("roles", "they are tried in tests/run's PostgreSQL, with the binary that it has built")
        return
    # Roles are the whole server's: a run that was cut off may have left them.
    drop(server)
    name = f"roles_{uuid.uuid4().hex}"
    psql(server, "--command", f"CREATE DATABASE {name}")
    try:
        roles(re.sub(r"/[^/]*$", f"/{name}", server))
    finally:
        psql(server, "--command", f"DROP DATABASE {name} WITH (FORCE)")
        drop(server)


def drop(server):
    for role in ROLES:
        psql(server, "--command", f"DROP ROLE IF EXISTS {role}")


def roles(database):
    # A table of the booking application.
    psql(database, "--command", "CREATE TABLE public.others (id int)")
    done = psql(database, "--file", DEPLOY / "postgres/roles.sql")
    if not fact("roles: they are made", done.returncode == 0, done.stdout):
        return
    worker, migrating = (re.sub("//[^@/]*@", f"//{role}@", database) for role in ROLES)
    done = ours(migrating, "migrate")
    fact("roles: one migrates", done.returncode == 0, done.stdout)
    done = ours(worker, "cursor", "show")
    fact("roles: the other one works", done.returncode == 0, done.stdout)
    owned = psql(database, "--command", "SELECT count(*) FROM pg_tables WHERE tableowner = 'calendar_sync'")
    fact("roles: who works owns nothing", owned.stdout.strip() == "0", owned.stdout)
    reached = psql(database, "--command", """
        SELECT string_agg(schemaname || '.' || tablename, ' ') FROM pg_tables
         WHERE (schemaname = 'calendar_sync' OR tablename = 'external_calendar_events')
           AND NOT (has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'SELECT')
                AND has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'INSERT')
                AND has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'UPDATE')
                AND has_table_privilege('calendar_sync', schemaname || '.' || tablename, 'DELETE'))""")
    fact("roles: who works reaches each of our tables", not reached.stdout.strip(), reached.stdout)
    for sql in ("CREATE TABLE calendar_sync.mine ()", "DROP TABLE calendar_sync.journal",
                "TRUNCATE calendar_sync.journal", "ALTER TABLE calendar_sync.journal ADD mine int",
                "SELECT * FROM public.others"):
        done = psql(worker, "--command", sql)
        fact(f"roles: who works may not: {sql}", "denied" in done.stdout or "must be owner" in done.stdout,
             done.stdout)
    done = psql(migrating, "--command", "SELECT * FROM public.others")
    fact("roles: nor does who migrates read what is not ours", "denied" in done.stdout, done.stdout)


def psql(database, *arguments):
    program = os.environ["DEPLOY_PSQL"]
    return run(program, "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set", "ON_ERROR_STOP=1",
               *arguments, database)


def ours(database, *arguments):
    return run(BINARY, *arguments, env={"DATABASE_URL": database, "LOG_LEVEL": "warn"})
