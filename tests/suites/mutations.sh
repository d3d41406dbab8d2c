#!/usr/bin/env bash
# Do the tests notice? Applies each of tests/mutations/*.patch to a copy of the tree, one at a time:
# the test that the patch names passes without it and must fail with it. The last line is
# "N passed, N failed, N skipped".
#
# The copy and what is built of it stay in target/mutations, so that each patch costs one
# incremental build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

root=$PWD
here=$root/target/mutations
tree=$here/tree
log=$here/log
readonly TEST_WAIT_S=300

built=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TARGET_DIR=$here/target
# CI turns it off, as it builds once; here every build but the first is a small one.
export CARGO_INCREMENTAL=1
export CARGO_TERM_COLOR=never

passed=0
failed=0

main() {
  local patch
  copy_dependencies
  copy_tree
  if ! build; then
    tail -n 40 "$log"
    echo "the tree does not build"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
  fi
  for patch in tests/mutations/*.patch; do
    unpatched "$patch"
  done
  for patch in tests/mutations/*.patch; do
    check "$patch"
  done
  echo "$passed passed, $failed failed, 0 skipped"
  ((!failed))
}

# What is compiled of other people's crates is the same for the copy: minutes are saved.
copy_dependencies() {
  [[ ! -d $CARGO_TARGET_DIR && -d $built/debug/deps ]] || return 0
  mkdir -p "$CARGO_TARGET_DIR/debug"
  tar -C "$built/debug" --exclude='deps/it-*' --exclude='deps/calendar_sync-*' \
    -cf - deps build .fingerprint | tar -C "$CARGO_TARGET_DIR/debug" -xf -
}

# A file whose content differs from what was built of it, but whose time is older, would not be
# built again: all are touched.
copy_tree() {
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z --cached --others --exclude-standard |
    { while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done; } |
    tar --null -T - -cf - | tar -C "$tree" -xmf -
}

# The test that a patch names.
test_of() { sed -n 's/^Test: //p' "$1"; }

build() { (cd "$tree" && cargo test --locked --test it --no-run) >"$log" 2>&1; }

# Runs one test, which has to be there; prints `ok` or `FAILED`.
result_of() {
  (cd "$tree" && timeout "$TEST_WAIT_S" cargo test --locked --test it -- --exact "$1") >"$log" 2>&1 ||
    true
  grep -oE '^test result: (ok\. 1 passed|FAILED\. 0 passed; 1 failed)' "$log" |
    grep -oE 'ok|FAILED' || echo "no result"
}

unpatched() {
  local result
  result=$(result_of "$(test_of "$1")")
  [[ $result == ok ]] || fail "$1" "without it, $(test_of "$1"): $result"
}

check() {
  local patch=$root/$1 result
  if ! patch -d "$tree" -p1 --silent --forward --fuzz=0 <"$patch" >"$log" 2>&1; then
    fail "$1" "does not apply any more"
    copy_tree
    return
  fi
  if build; then
    result=$(result_of "$(test_of "$1")")
  else
    result="does not build"
  fi
  patch -d "$tree" -p1 --silent --reverse <"$patch"
  case $result in
    FAILED)
      passed=$((passed + 1))
      echo "noticed: $(head -n 1 "$1")"
      ;;
    ok) fail "$1" "not noticed by $(test_of "$1")" ;;
    *) fail "$1" "$result" ;;
  esac
}

fail() {
  failed=$((failed + 1))
  echo "$1: $2"
  tail -n 40 "$log"
}

main
