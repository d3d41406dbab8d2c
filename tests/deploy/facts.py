"""Counts facts, and knows where everything is. Knows nothing about what is checked."""

import os
import pathlib
import re
import subprocess
import sys
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Programs of the Python environment that this runs in.
BIN = pathlib.Path(sys.executable).parent
# The command line that is checked against; may be missing.
BINARY = (ROOT / os.environ["DEPLOY_BINARY"]).resolve()

results = {"passed": 0, "failed": 0, "skipped": 0}
failures = []


def fact(name, holds, why=""):
    """Counts one fact, and tells of one that does not hold."""
    results["passed" if holds else "failed"] += 1
    print(f"{'ok' if holds else 'FAILED'}: {name}")
    if not holds:
        failures.append(f"{name}\n{why}".rstrip())
        print(why)
    return bool(holds)


def run(*arguments, **options):
    """Runs a program; its output and errors are one text."""
    return subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options,
    )


def command(name, *arguments, **options):
    """A fact: the command succeeds."""
    done = run(*arguments, **options)
    return fact(name, done.returncode == 0, done.stdout)


def attempt(name, part, *arguments):
    """Runs a part; what it cannot even look at, as a field is not there, is one fact that does not hold."""
    try:
        part(*arguments)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        fact(f"{name}: {part.__name__}", False, traceback.format_exc(limit=-2))


def unavailable(name, why):
    """Counts a part that could not be checked; where everything is required that is a failure."""
    required = os.environ.get("REQUIRE_SERVICES") == "1"
    results["failed" if required else "skipped"] += 1
    if required:
        failures.append(f"{name}: {why}")
    print(f"{'FAILED' if required else 'skipped'}: {name}: {why}")


def settings():
    """The variables of the README's table, which is made from the code's, and OpenTelemetry's own."""
    table = (ROOT / "README.md").read_text()
    ours = set(re.findall(r"^\| `[a-z_.]+` \| `([A-Z0-9_]+)` \|", table, re.MULTILINE))
    return ours | OPENTELEMETRY


# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and …/protocol/exporter/
OPENTELEMETRY = {
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
}
