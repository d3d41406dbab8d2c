#!/usr/bin/env bash
# The files in deploy/, checked without a cluster. The last line is "N passed, N failed, N skipped".
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../deploy/run"
