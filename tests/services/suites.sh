# shellcheck shell=bash
# The suites: what runs, and how its results are added up.

# name and command. Every suite ends with a line `N passed, N failed[, N skipped]`.
suites=(
  "rust suite_rust"
)
[[ ! -x $root/tests/golden/check.sh ]] || suites+=("golden $root/tests/golden/check.sh")
for script in "$root"/tests/suites/*.sh; do
  [[ ! -x $script ]] || suites+=("$(basename "$script" .sh) $script")
done

passed=0
failed=0
skipped=0
suite_pid=

suite_names() {
  local entry
  for entry in "${suites[@]}"; do
    say "${entry%% *}"
  done
}

# All unit, integration and doc tests; with the points at which the crash matrix ends a worker. What
# the adapters send is recorded, for the suite `requests`. A test that skips itself has passed for
# libtest: it is moved to the skipped ones by the line that it wrote. The rehearsal measures, and is a
# suite of its own, with the machine to itself; so are the facts of the image's program, which is built for
# them, and those that ask Jaeger.
suite_rust() {
  local status=0 results
  mkdir -p "$TEST_REQUESTS_DIR"
  EMULATOR_RECORD_DIR=$TEST_REQUESTS_DIR CARGO_TERM_COLOR=never \
    cargo test --workspace --features crash-points --locked --no-fail-fast -- \
    --skip rehearsal:: --skip image:: --skip traces::jaeger:: || status=$?
  results=$(rust_results "$(wc -l <"$TEST_SKIPS_FILE")" <"$logs/rust.log")
  say "$results"
  return "$status"
}

# One booking, as Jaeger shows it. Known to `tests/run --jaeger` alone.
suite_traces() {
  local status=0
  CARGO_TERM_COLOR=never cargo test --workspace --features crash-points --locked --test it -- \
    traces::jaeger:: || status=$?
  rust_results "$(wc -l <"$TEST_SKIPS_FILE")" <"$logs/traces.log"
  return "$status"
}

# Adds up libtest's lines. A test binary that was started and left no result has crashed.
rust_results() {
  awk -v skips="$1" '
    $1 == "Running" || $1 == "Doc-tests" { started++ }
    /^test result: / {
      ended++
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^failed/) failed += $(i - 1)
        if ($i ~ /^ignored/) skipped += $(i - 1)
      }
    }
    END {
      if (started > ended) {
        print "test binaries that ended without a result: " started - ended
        failed += started - ended
      }
      if (skips > passed) skips = passed
      printf "%d passed, %d failed, %d skipped\n", passed - skips, failed, skipped + skips
    }'
}

# run_suite NAME: in a process group of its own, so that it can be stopped whole.
run_suite() {
  local name=$1 entry command status=0 began
  for entry in "${suites[@]}"; do
    [[ ${entry%% *} != "$name" ]] || command=${entry#* }
  done
  began=$(now_ms)
  say "$name …"
  set -m
  "$command" </dev/null >"$logs/$name.log" 2>&1 9>&- &
  suite_pid=$!
  set +m
  wait "$suite_pid" || status=$?
  suite_pid=
  count_suite "$name" "$status" "$began"
}

# Ends what a suite has started, if we were interrupted in its midst.
stop_suite() {
  [[ -n $suite_pid ]] || return 0
  kill -TERM -- "-$suite_pid" 2>/dev/null || return 0
  await "$STOP_WAIT_S" suite_gone || kill -KILL -- "-$suite_pid"
}

suite_gone() { ! kill -0 -- "-$suite_pid" 2>/dev/null; }

# Reads the closing line of a suite. One that leaves none has crashed; one that ends badly has
# failed, whatever its line says.
count_suite() {
  local name=$1 status=$2 began=$3 log=$logs/$1.log last suite_failed
  last=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1)
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
    suite_failed=${BASH_REMATCH[2]}
    passed=$((passed + BASH_REMATCH[1]))
    skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
  else
    last="ended with status $status and without its closing line: 1 failed"
    suite_failed=1
  fi
  if ((status && !suite_failed)); then
    last="$last, but ended with status $status: 1 failed"
    suite_failed=1
  fi
  failed=$((failed + suite_failed))
  ((!suite_failed)) || show_failures "$log"
  # What a suite has measured.
  sed -n 's/^figure: /  /p' "$log"
  say "$name: $last ($(seconds_since "$began"))"
}

# The failures in libtest's form and the compiler's errors; if there are none, the end of the log.
show_failures() {
  local shown
  shown=$(awk '
    /^failures:$/ { show = 1 }
    /^test result:/ { show = 0 }
    /^(error|Caused by:)/ { error = 1 }
    /^$/ { error = 0 }
    show || error' "$1" | head -n 400)
  [[ -n $shown ]] || shown=$(tail -n 60 "$1")
  say "$shown"
  say "(all of it: ${1#"$root/"})"
}
