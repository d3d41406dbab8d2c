# shellcheck shell=bash
# PostgreSQL: a cluster of its own on loopback, as durable as in production.

# Debian keeps the server's programs out of PATH, in a folder for each version: the newest.
postgres_programs() {
  local programs
  programs=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
  [[ -x $programs ]] || programs=$(type -P postgres) || return 1
  dirname "$programs"
}

postgres_missing() {
  postgres_programs >/dev/null || say "PostgreSQL is not installed"
}

postgres_start() {
  local directory port programs
  directory=$(postgres_directory) || return 1
  port=$(free_port)
  programs=$(postgres_programs)
  # Only processes are killed in tests, never the machine: the empty cluster needs no syncing.
  (cd / && "${postgres_user[@]}" "$programs/initdb" --pgdata="$directory/data" \
    --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync) \
    >>"$logs/postgres.log" 2>&1 || return 1
  launch postgres INT "${postgres_user[@]}" "$programs/postgres" -D "$directory/data" -p "$port" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=on -c max_connections=300 \
    -c timezone=UTC -c log_timezone=UTC
  offer postgres TEST_POSTGRES_URL "postgres://postgres@127.0.0.1:$port/postgres"
}

postgres_answers() {
  [[ $("$(postgres_programs)/psql" -XAtqc 'SELECT 1' "$TEST_POSTGRES_URL" 2>/dev/null) == 1 ]]
}

# PostgreSQL refuses to run as root.
postgres_user=()
((EUID)) || postgres_user=(setpriv --reuid=postgres --regid=postgres --init-groups --)

# The user `postgres` must reach its directory. Where the checkout stands below one that is root's
# alone, the cluster goes to the temporary folder, and a link here leads there.
postgres_directory() {
  local link=$here/postgres directory
  directory=$link
  mkdir -p "$directory"
  if ! postgres_owns "$directory"; then
    rmdir "$link"
    directory=$(mktemp -d "${TMPDIR:-/tmp}/calendar-sync-postgres.XXXXXX") || return 1
    ln -s "$directory" "$link"
    if ! postgres_owns "$directory"; then
      say "the user postgres cannot reach ${TMPDIR:-/tmp}" >>"$logs/postgres.log"
      return 1
    fi
  fi
  printf '%s' "$directory"
}

postgres_owns() {
  ((EUID)) || chown postgres: "$1"
  (cd / && "${postgres_user[@]}" test -w "$1")
}

postgres_clean() {
  [[ ! -L $here/postgres ]] || rm -rf "$(readlink "$here/postgres")"
  rm -rf "$here/postgres"
}
