#!/usr/bin/env bash
# The program as the container's image has it: the facts of its own code, and the module `image` of the
# integration tests on the binary. The last line is "N passed, N failed, N skipped".
#
# It is built by the flags of the container file but `--release`: the same code and features, OpenSSL
# and librdkafka with it, unoptimised, with zlib from the system. What CI's clippy has compiled for
# these features is used again, and nothing of the other suites is built anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/services/lib.sh
source tests/services/lib.sh
# shellcheck source=tests/services/suites.sh
source tests/services/suites.sh

export CARGO_TERM_COLOR=never
log=$here/image.log
# Beside the default one: it takes the place in `debug` that the tests' own binary has.
binary=$here/image/calendar-sync

main() {
  local before status=0
  before=$(wc -l <"$TEST_SKIPS_FILE")
  { build && facts; } 2>&1 | tee "$log" || status=$?
  rust_results "$(($(wc -l <"$TEST_SKIPS_FILE") - before))" <"$log"
  return "$status"
}

# What follows `cargo build --release` in the container file.
container_flags() {
  sed -e ':whole' -e '/\\$/{N;s/\\\n//;b whole' -e '}' deploy/container/Dockerfile |
    sed -n 's/^RUN cargo build --release //p'
}

build() {
  local flags
  read -ra flags < <(container_flags) || return
  [[ ${flags[*]} == *"--no-default-features --features"* ]] || return
  say "cargo build ${flags[*]}"
  cargo build "${flags[@]}" || return
  mkdir -p "${binary%/*}"
  cp "${CARGO_TARGET_DIR:-target}/debug/calendar-sync" "$binary"
}

# The integration tests need what the image is without, so they are built as ever, and told where it is.
facts() {
  local status=0
  cargo test --package calendar-sync --lib --no-default-features --features kafka-tls --locked ||
    status=$?
  TEST_IMAGE_BINARY=$binary cargo test --features crash-points --locked --test it -- image:: ||
    status=$?
  return "$status"
}

main
