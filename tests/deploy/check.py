"""Holds the files in deploy/ against schemas, types, rules of security, and facts. See `run` beside."""

import sys
import time

import database
import handbook
import laptop
import manifests
import monitoring
from facts import attempt, failures, results

PARTS = {
    "manifests": manifests.check,
    "monitoring": monitoring.check,
    "handbook": handbook.check,
    "laptop": laptop.check,
    "database": database.check,
}


def main():
    names = sys.argv[1:] or list(PARTS)
    if unknown := set(names) - set(PARTS):
        sys.exit(f"no such parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in names:
        began = time.monotonic()
        print(f"== {name}")
        attempt(name, PARTS[name])
        print(f"== {name}: {time.monotonic() - began:.1f} s")
    # Once more, in one place: `tests/run` shows what stands below this word.
    if failures:
        print("failures:", *failures, sep="\n")
    print(f"{results['passed']} passed, {results['failed']} failed, {results['skipped']} skipped")
    sys.exit(1 if results["failed"] else 0)


main()
