#!/usr/bin/env bash
# What a cluster does to workers, on the real services and with the waits that deploy/ sets; with the
# machine to itself, as it measures. Prints its figures. The last line is "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/services/lib.sh
source tests/services/lib.sh

before=$(wc -l <"$TEST_SKIPS_FILE")
status=0
CARGO_TERM_COLOR=never cargo test --features crash-points --locked --test it -- \
  --nocapture rehearsal:: || status=$?
if (($(wc -l <"$TEST_SKIPS_FILE") > before)); then
  say "0 passed, 0 failed, 1 skipped"
elif ((status)); then
  say "0 passed, 1 failed, 0 skipped"
else
  say "1 passed, 0 failed, 0 skipped"
fi
exit "$status"
