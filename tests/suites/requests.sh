#!/usr/bin/env bash
# Every request that our adapters have sent to the emulators in the suite `rust` of the same run, held
# against what the providers publish: Google's discovery document, and Microsoft's types by `tsc`. If
# that suite did not run, the end-to-end facts on the embedded parts are run to record some. The last
# line is "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Those that send one request of every kind at least, and need no services.
readonly RECORDED=(
  end_to_end::embedded end_to_end::microsoft::embedded
  calendars::listing::an_empty_page calendars::calendar_lists
)

recorded=${TEST_REQUESTS_DIR:?is given by tests/run}
log=$recorded.log
passed=0
failed=0
skipped=0

main() {
  [[ -d $recorded ]] || record
  check google "${TEST_GOOGLE_CLIENT_PYTHON:-}" tests/fidelity/google_requests.py "$recorded"
  check microsoft "$(graph_tools)" tests/fidelity/graph_requests.py "$recorded" "${TEST_GRAPH_TYPES:-}"
  echo "$passed passed, $failed failed, $skipped skipped"
  ((!failed))
}

record() {
  mkdir -p "$recorded"
  echo "recording ${RECORDED[*]} …"
  if ! EMULATOR_RECORD_DIR=$recorded CARGO_TERM_COLOR=never cargo test --workspace \
    --features crash-points --locked --test it -- "${RECORDED[@]}" >"$log" 2>&1; then
    cat "$log"
    echo "what was to be recorded has failed"
    failed=$((failed + 1))
  fi
}

# The Python that has the zones' names, if Microsoft's types are there too.
graph_tools() { [[ -z ${TEST_GRAPH_TYPES:-} ]] || printf '%s' "${TEST_GOOGLE_CLIENT_PYTHON:-}"; }

# check NAME PYTHON SCRIPT…: adds up what a checker says.
check() {
  local name=$1 python=$2 last
  shift 2
  echo "== $name"
  if [[ -z $python ]]; then
    echo "what it is checked with is not installed: see tests/run setup"
    if [[ ${REQUIRE_SERVICES:-} == 1 ]]; then failed=$((failed + 1)); else skipped=$((skipped + 1)); fi
    return
  fi
  if [[ -z $(ls "$recorded") ]]; then
    echo "nothing was recorded: EMULATOR_RECORD_DIR has not reached the emulators of the tests"
    failed=$((failed + 1))
    return
  fi
  "$python" "$@" 2>&1 | tee "$log" || true
  last=$(tail -n 1 "$log")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    skipped=$((skipped + BASH_REMATCH[3]))
  else
    echo "the checker has ended without a result"
    failed=$((failed + 1))
  fi
}

main
