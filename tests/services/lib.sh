# shellcheck shell=bash
# What every part of tests/run needs: where things are, how to speak, how to start, await and stop
# a process. Knows no service by name.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/target/services
logs=$here/logs
cache=${XDG_CACHE_HOME:-$HOME/.cache}/calendar-sync

readonly ANSWER_WAIT_S=60
readonly STOP_WAIT_S=15

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

required() { [[ ${REQUIRE_SERVICES:-0} == 1 ]]; }

# Milliseconds, for measuring.
now_ms() {
  local now=${EPOCHREALTIME/[.,]/}
  printf '%s' "$((now / 1000))"
}

# seconds_since START_MS → "1.2 s"
seconds_since() {
  local spent=$(($(now_ms) - $1))
  printf '%d.%d s' $((spent / 1000)) $((spent % 1000 / 100))
}

# await SECONDS COMMAND…: polls until the command succeeds; fails once the time is over.
await() {
  local until=$(($(now_ms) + $1 * 1000))
  shift
  until "$@"; do
    (($(now_ms) < until)) || return 1
    sleep 0.1
  done
}

# ask HOST:PORT LENGTH: sends what it reads, and prints the first bytes of the answer.
ask() {
  # shellcheck disable=SC2016 # The inner shell expands these: it is there to be timed out.
  timeout 2 bash -c 'exec 3<>"/dev/tcp/${1/:/\/}" && cat >&3 && head -c "$2" <&3' ask "$@" 2>/dev/null
}

# A port that nobody listens on, below the range from which the kernel takes ports for outgoing
# connections: one of those cannot grab it before the service does.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s' "$port"
}

# The start time of a process, which tells it from a later one with the same id. Fails for one
# that has ended, even if nobody has collected it yet.
birth_of() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name, in brackets, may hold spaces: count the fields after it.
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] || return 1
  printf '%s' "${fields[19]}"
}

# alive NAME: does the process that we noted under this name still run?
alive() {
  local pid birth
  read -r pid birth _ 2>/dev/null <"$here/$1.pid" || return 1
  [[ $(birth_of "$pid") == "$birth" ]]
}

# launch NAME SIGNAL COMMAND…: starts it in a session of its own, so that ctrl-C reaches us alone and
# we stop things in order; notes its id, and the signal that stops it.
launch() {
  local name=$1 signal=$2
  shift 2
  launching=1
  # Descriptor 9 is the lock of this checkout: a service left running must not hold it.
  # Nor does it stay in the working directory, which its user may be unable to read.
  (cd / && exec setsid "$@") </dev/null >>"$logs/$name.log" 2>&1 9>&- &
  printf '%s %s %s\n' "$!" "$(birth_of "$!")" "$signal" >"$here/$name.pid"
  launching=
  [[ -z $interrupted ]] || exit 130
}

# Between a start and the note of its id, a signal waits: what is not noted would not be stopped.
launching=
interrupted=
exit_on_signals() { trap 'interrupted=1; [[ -n $launching ]] || exit 130' INT TERM HUP; }

# stop NAME…: asks all of them at once, then waits for each.
stop() {
  local name pid signal
  for name; do
    alive "$name" || continue
    read -r pid _ signal <"$here/$name.pid"
    kill -"$signal" "$pid" || true
  done
  for name; do
    if ! await "$STOP_WAIT_S" gone "$name"; then
      read -r pid _ <"$here/$name.pid"
      warn "$name did not stop within $STOP_WAIT_S s: killed"
      kill -KILL -- "-$pid" || true
    fi
    rm -f "$here/$name.pid"
  done
}

gone() { ! alive "$1"; }

# installed DIRECTORY: whole, not only begun.
installed() { [[ -f $1/.installed ]]; }

# The Python environment for requirements-NAME.txt; another set of requirements is another one.
python_environment() {
  local requirements=$root/tests/services/requirements-$1.txt
  printf '%s/%s-%s' "$cache" "$1" "$(cksum <"$requirements" | cut -d' ' -f1)"
}

# Microsoft's types of Graph, and the TypeScript compiler; other versions are another folder.
graph_types() {
  local lock=$root/tests/services/graph-types/package-lock.json
  printf '%s/graph-types-%s' "$cache" "$(cksum <"$lock" | cut -d' ' -f1)"
}

# offer NAME VARIABLE VALUE: exports it, and notes it for others to read.
offer() {
  export "$2=$3"
  printf 'export %s=%q\n' "$2" "$3" >>"$here/$1.env"
}
