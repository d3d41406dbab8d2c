#!/usr/bin/env bash
# The promise, by simulation: the seeds that once failed, ten thousand others, in which each kind of
# fault must happen, and the service broken on purpose in fifteen ways, each of which must be noticed.
# With arguments: as they say (`--seeds N [--seed S] [--trace] [--variant NAME]`). The last line is
# "N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

arguments=("$@")
((${#arguments[@]})) || arguments=(--suite --seeds 10000)
# With it, tokio takes its own dice from the seed too: a seed goes the same way each time.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg tokio_unstable"
exec cargo run --quiet --locked --package simulate --profile simulate -- "${arguments[@]}"
