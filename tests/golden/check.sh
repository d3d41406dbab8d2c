#!/usr/bin/env bash
# Are the kept golden records still what other people's encoders write?
# TEST_PYTHON is a Python that has tests/services/requirements-golden.txt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [[ -z ${TEST_PYTHON:-} ]]; then
  echo "golden: TEST_PYTHON is not set"
  [[ ${REQUIRE_SERVICES:-} != 1 ]] || { echo "0 passed, 1 failed"; exit 1; }
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
exec "$TEST_PYTHON" "$here/make.py" --check
