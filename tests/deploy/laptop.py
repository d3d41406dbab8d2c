"""The container file, and the composition of everything on one laptop."""

import json
import os
import re
import tempfile
import tomllib

import yaml

from facts import BIN, BINARY, DEPLOY, ROOT, command, fact, run, settings, unavailable

COMPOSE = DEPLOY / "compose.yaml"
DOCKERFILE = DEPLOY / "container/Dockerfile"
# It is not known what its image could be asked with, and nobody may wait for it.
SILENT = {"jaeger"}
# As `ldd` names them, and whether they are in the image that the binary runs in.
LIBRARIES = {
    "linux-vdso.so.1": True, "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6": True,
    "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6": True, "libgcc_s.so.1 => /lib/libgcc_s.so.1": True,
    "/lib64/ld-linux-x86-64.so.2": True, "/lib/ld-linux-aarch64.so.1": True,
    "libcurl.so.4 => /lib/libcurl.so.4": False, "libcrypto.so.3 => /lib/libcrypto.so.3": False,
    "libmagic.so.1 => /lib/libmagic.so.1": False, "libz.so.1 => /lib/libz.so.1": False,
    "/lib/libssl.so.3": False,
}


def check():
    dockerfile()
    compose()


def dockerfile():
    command("Dockerfile: hadolint", BIN / "hadolint", DOCKERFILE)
    text = DOCKERFILE.read_text()
    last = text[text.rindex("\nFROM "):]
    fact("Dockerfile: by number, not as root", re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE) == [("65532", "65532")])
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", last, re.MULTILINE)[1])
    health = json.loads(re.search(r"HEALTHCHECK .*?CMD (\[.*?\])$", last, re.MULTILINE | re.DOTALL)[1])
    fact("Dockerfile: its health is asked without a shell", health == [*entry, "healthcheck"], str(health))
    fact("Dockerfile: nothing runs in an image without a shell", not re.search(r"^RUN", last, re.MULTILINE))
    built = re.findall(r"cargo (?:chef cook|build) (?:[^\n\\]|\\\n)*", text)
    fact("Dockerfile: what is cooked is what is built", len(built) == 2 and all(
        words in each for each in built
        for words in ("--release", "--locked", "--no-default-features", "--features kafka-tls")
    ), str(built))
    fact("Dockerfile: zlib is compiled in", re.search(r"^ENV LIBZ_SYS_STATIC=1$", text, re.MULTILINE))
    for argument in re.findall(r"^ARG (\w+_IMAGE)=\S+:\S+$", text, re.MULTILINE):
        fact(f"Dockerfile: {argument} can be pinned, and is used", f"FROM ${{{argument}}}" in text)
    scripts(text)
    fact("Dockerfile: no image but those", set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
         == {"${BUILD_IMAGE}", "${RUN_IMAGE}", "chef"})


def scripts(text):
    """What the container file refuses while it builds, tried with the shell that is here."""
    check = re.search(r"^RUN (case .*?esac)$", text, re.MULTILINE | re.DOTALL)[1]
    pinned, tag = "name:1@sha256:0", "name:1"
    tries = [("", tag, tag, True), ("yes", pinned, pinned, True), ("yes", tag, pinned, False),
             ("yes", pinned, tag, False), ("yes", tag, tag, False)]
    for release, build, image, taken in tries:
        done = run("sh", "-c", check, env={**os.environ, "RELEASE": release, "BUILD_IMAGE": build, "RUN_IMAGE": image})
        fact(f"Dockerfile: {'a release' if release else 'a trial'} is {'' if taken else 'not '}built from {build} and "
             f"{image}", (done.returncode == 0) == taken, done.stdout)
    check = re.search(r"^RUN ldd \S+ \| (awk .*?)$(?<!\\)", text, re.MULTILINE | re.DOTALL)[1]
    for library, taken in LIBRARIES.items():
        done = run("bash", "-c", check, input=f"\t{library} (0x00007ffe0000)\n")
        fact(f"Dockerfile: {library} is {'' if taken else 'not '}in the image",
             (done.returncode == 0) == taken, done.stdout)


def compose():
    command("compose.yaml fits its schema", BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    text = COMPOSE.read_text()
    services = yaml.safe_load(text)["services"]
    for name, service in services.items():
        once = "restart" not in service and any(
            other.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully"
            for other in services.values()
        )
        disabled = service.get("healthcheck", {}).get("disable")
        healthy = service.get("healthcheck") and not disabled
        if name not in SILENT:
            fact(f"compose.yaml: {name} runs once, or tells whether it is well", once or healthy)
        for port in service.get("ports", []):
            fact(f"compose.yaml: {name} is reached from this machine alone", port.startswith("127.0.0.1:"), port)
        if "image" in service and "build" not in service:
            fact(f"compose.yaml: {name} is of one version", re.search(r":\d+\.\d+", service["image"]), service["image"])
        waited = set(service.get("depends_on", {}))
        fact(f"compose.yaml: {name} waits for none that does not tell", not waited & SILENT)
        for other, how in service.get("depends_on", {}).items():
            wanted = {"service_healthy", "service_completed_successfully"}
            fact(f"compose.yaml: {name} waits until {other} is ready",
                 other in services and how["condition"] in wanted, how["condition"])
    for name in ("calendar-sync", "migrate"):
        unknown = set(services[name]["environment"]) - settings()
        fact(f"compose.yaml: {name}: every variable is a setting", not unknown, str(unknown))
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    images = {services[name]["image"] for name in ("calendar-sync", "migrate")}
    fact("compose.yaml: one image, of this version", images == {f"calendar-sync:{version}"}, str(images))
    worker = services["calendar-sync"]
    fact("compose.yaml: the worker waits for its schema and its topic",
         {"migrate", "topic", "postgres", "kafka"} <= set(closure("calendar-sync", services)))
    deadline = int(worker["environment"].get("SHUTDOWN_DEADLINE_S", 25))
    grace = int(re.fullmatch(r"(\d+)s", worker["stop_grace_period"])[1])
    fact("compose.yaml: the grace period is longer than the drain", grace >= deadline + 10)
    addresses(services)
    accepted("compose.yaml: the worker takes its settings", {
        key: interpolated(value) for key, value in worker["environment"].items()
    })


def closure(name, services):
    """All that a service waits for, at any remove."""
    waited = set(services[name].get("depends_on", {}))
    return waited.union(*(closure(other, services) for other in waited)) if waited else waited


def addresses(services):
    """Wherever a setting leads, a service of that name listens."""
    for key, value in services["calendar-sync"]["environment"].items():
        if key.endswith(("_URL", "_BROKERS", "_ENDPOINT")):
            for address in str(value).split(","):
                host = re.sub(r"^\w+://([^@/]*@)?", "", address).partition("/")[0].partition(":")[0]
                fact(f"compose.yaml: {key} leads to {host}", host in services)


def interpolated(value):
    """As Compose fills in what the environment does not have."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", str(value))


def accepted(name, environment):
    """A fact: `config check` finds nothing wrong, as far as a binary without TLS to Kafka can tell."""
    if not BINARY.exists():
        unavailable(name, f"{BINARY.name} is not built")
        return
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        with open(path, "w", encoding="ascii") as file:
            file.write("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        environment = {
            key: path if key.endswith("_FILE") and value else value
            for key, value in environment.items()
            if not re.match("KAFKA_(SECURITY|SASL|SSL)_", key)
        }
        done = run(BINARY, "config", "check", env=environment, cwd=directory)
    fact(name, done.returncode == 0, done.stdout)
