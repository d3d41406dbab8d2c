"""Holds the files in deploy/ against schemas, types, rules of security, and facts. See `run` beside."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent

# The oldest that is supported still, and the newest that the checker knows.
KUBERNETES = ["1.33", "1.37"]

# Whose schemas nobody publishes in a package that we can have: facts alone.
UNTYPED = {"kafka.strimzi.io"}

TYPED = {
    "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
}

CHECKOV_SKIPPED = {
    "CKV_K8S_11": "a throttled worker outlives its leases: no limit of CPU",
    "CKV_K8S_15": "a version's tag does not move: no pull at every start",
    "CKV_K8S_35": "what is taken from a variable alone comes from a Secret by reference",
    "CKV_K8S_43": "whoever builds the image knows its digest; the overlays here have none to give",
}

results = {"passed": 0, "failed": 0, "skipped": 0}


def fact(name, holds, why=""):
    """Counts one fact, and tells of one that does not hold."""
    results["passed" if holds else "failed"] += 1
    print(f"{'ok' if holds else 'FAILED'}: {name}" + (f"\n{why}" if why and not holds else ""))


def command(name, *arguments, **options):
    """A fact: the command succeeds."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options,
    )
    fact(name, done.returncode == 0, done.stdout)


def render(overlay):
    return subprocess.run(
        ["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=True
    ).stdout


def typed(name, objects, types, directory):
    """By `tsc`, which refuses fields that the types do not have; the models' own check lets them pass."""
    lines = []
    for number, thing in enumerate(objects):
        module = TYPED.get(thing["apiVersion"])
        if module:
            text = json.dumps(thing, indent=2)
            lines.append(f'import type {{ I{thing["kind"]} as T{number} }} from "{module}";')
            lines.append(f"export const t{number}: T{number} = {text};")
    if not lines:
        return
    (directory / "node_modules").symlink_to(types / "node_modules")
    (directory / "objects.ts").write_text("\n".join(lines))
    options = {"noEmit": True, "strict": True, "skipLibCheck": True, "types": [], "target": "es2022",
               "module": "nodenext", "moduleResolution": "nodenext"}
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    command(
        f"{name}: custom resources fit their types",
        "node", types / "node_modules/typescript/bin/tsc", "--project", directory,
    )


def settings():
    """The variables of the README's table, which is made from the code's."""
    table = (ROOT / "README.md").read_text()
    return set(re.findall(r"^\| `[a-z_.]+` \| `([A-Z0-9_]+)` \|", table, re.MULTILINE))


def of_kind(objects, kind):
    return [thing for thing in objects if thing["kind"] == kind]


def named(things, name):
    return next(thing for thing in things if thing["metadata"]["name"] == name)


def workload_facts(name, thing):
    pod = thing["spec"]["template"]["spec"]
    context = pod["securityContext"]
    fact(f"{name}: not as root", context["runAsNonRoot"] is True and context["runAsUser"] > 0)
    fact(f"{name}: seccomp", context["seccompProfile"]["type"] == "RuntimeDefault")
    fact(f"{name}: no token of Kubernetes", pod["automountServiceAccountToken"] is False)
    for container in pod["containers"]:
        context = container["securityContext"]
        fact(f"{name}: read-only root", context["readOnlyRootFilesystem"] is True)
        fact(f"{name}: no escalation", context["allowPrivilegeEscalation"] is False)
        fact(f"{name}: no capabilities", context["capabilities"] == {"drop": ["ALL"]})
        fact(f"{name}: memory is bounded", "memory" in container["resources"]["limits"])
        given = [variable["name"] for variable in container.get("env", []) if "value" in variable]
        secret = [key for key in given if re.search("PASSWORD|TOKEN|SECRET|DATABASE_URL", key)]
        fact(f"{name}: Secrets by reference alone", not secret, str(secret))


def facts(name, objects):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    worker = named(of_kind(objects, "Deployment"), "calendar-sync")
    job = of_kind(objects, "Job")[0]
    configs = {config["metadata"]["name"]: config["data"] for config in of_kind(objects, "ConfigMap")}
    pod = worker["spec"]["template"]["spec"]
    container = pod["containers"][0]
    sources = [source["configMapRef"]["name"] for source in container["envFrom"]]
    given = {key: value for source in sources for key, value in configs[source].items()}
    variables = set(given) | {variable["name"] for variable in container["env"]}

    workload_facts(f"{name}: workers", worker)
    workload_facts(f"{name}: migration", job)
    unknown = variables - settings()
    fact(f"{name}: every variable is a setting", not unknown, str(unknown))
    fact(
        f"{name}: the grace period is longer than the drain",
        pod["terminationGracePeriodSeconds"] >= int(given["SHUTDOWN_DEADLINE_S"]) + 10,
    )
    rolling = worker["spec"]["strategy"]["rollingUpdate"]
    fact(f"{name}: a roll-out takes nobody away first", rolling == {"maxSurge": 1, "maxUnavailable": 0})
    probes = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
    fact(
        f"{name}: probes",
        probes == {"livenessProbe": "/livez", "readinessProbe": "/readyz", "startupProbe": "/livez"},
    )
    budget = of_kind(objects, "PodDisruptionBudget")[0]["spec"]
    fact(f"{name}: budget", budget["maxUnavailable"] == 1)
    labels = worker["spec"]["template"]["metadata"]["labels"]
    selected = budget["selector"]["matchLabels"]
    fact(f"{name}: the budget is the workers'", selected.items() <= labels.items())
    for policy in of_kind(objects, "NetworkPolicy"):
        fact(
            f"{name}: {policy['metadata']['name']} names what comes in and what goes out",
            set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"},
        )
    images = {thing["spec"]["template"]["spec"]["containers"][0]["image"] for thing in (worker, job)}
    fact(f"{name}: one image, of this version", {image.rpartition(":")[2] for image in images} == {version},
         str(images))
    fact(
        f"{name}: the migration's Job is this version's",
        job["metadata"]["name"] == f"calendar-sync-migrate-{version.replace('.', '-')}",
    )
    hashed = re.findall(r'"name": "(calendar-sync-[a-z0-9]{10})"', json.dumps(job))
    fact(f"{name}: no setting changes the migration's Job", not hashed, str(hashed))
    urls = [
        variable["valueFrom"]["secretKeyRef"]["name"]
        for thing in (worker, job)
        for variable in thing["spec"]["template"]["spec"]["containers"][0]["env"]
        if variable["name"] == "DATABASE_URL"
    ]
    fact(f"{name}: another database role migrates", len(set(urls)) == 2)
    namespaces = {
        thing["metadata"].get("namespace") for thing in objects if thing["kind"] != "Namespace"
    }
    fact(f"{name}: all in one namespace", namespaces == {"calendar-sync"}, str(namespaces))
    kafka_facts(name, objects, given, worker)


def kafka_facts(name, objects, given, worker):
    for topic in of_kind(objects, "KafkaTopic"):
        fact(f"{name}: the topic is the one that is read", topic["metadata"]["name"] == given["KAFKA_TOPIC"])
        fact(f"{name}: the topic is not compacted", topic["spec"]["config"]["cleanup.policy"] == "delete")
        for scaled in of_kind(objects, "ScaledObject"):
            spec = scaled["spec"]
            fact(
                f"{name}: no more workers than partitions",
                1 <= spec.get("minReplicaCount", 0) <= spec.get("maxReplicaCount", 100)
                <= topic["spec"]["partitions"],
            )
            fact(f"{name}: KEDA alone sets the number of workers", "replicas" not in worker["spec"])
    for user in of_kind(objects, "KafkaUser"):
        rights = {
            (acl["resource"]["type"], acl["resource"]["name"], acl["resource"]["patternType"], operation)
            for acl in user["spec"]["authorization"]["acls"]
            for operation in acl["operations"]
        }
        fact(
            f"{name}: the account reads its topic in its group, and no more",
            rights == {
                ("topic", given["KAFKA_TOPIC"], "literal", "Read"),
                ("group", given["KAFKA_GROUP"], "literal", "Read"),
            },
            str(rights),
        )
        fact(f"{name}: the account is the workers'", user["metadata"]["name"] == given["KAFKA_SASL_USERNAME"])


def overlay(path, checkov, types):
    name = path.name
    text = render(path)
    objects = [thing for thing in yaml.safe_load_all(text) if thing]
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        known = [
            thing for thing in objects
            if thing["apiVersion"] not in TYPED and thing["apiVersion"].split("/")[0] not in UNTYPED
        ]
        (directory / "known.yaml").write_text(yaml.safe_dump_all(known))
        for version in KUBERNETES:
            command(
                f"{name}: fits Kubernetes {version}",
                BIN / "kubernetes-validate", "--strict", "--quiet", "--no-warn", "--kubernetes-version", version,
                directory / "known.yaml",
            )
        (directory / "all.yaml").write_text(text)
        command(
            f"{name}: Checkov", checkov, "--framework", "kubernetes", "--skip-download", "--compact",
            "--quiet", "--skip-check", ",".join(CHECKOV_SKIPPED), "--file", directory / "all.yaml",
        )
        typed(name, objects, types, directory)
    facts(name, objects)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkov", type=pathlib.Path, required=True)
    parser.add_argument("--types", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    for path in sorted((DEPLOY / "kustomize/overlays").iterdir()):
        overlay(path, arguments.checkov, arguments.types)
    command("Dockerfile: hadolint", BIN / "hadolint", DEPLOY / "container/Dockerfile")
    command(
        "compose.yaml fits its schema",
        BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml",
    )
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["calendar-sync"]
    unknown = set(composed["environment"]) - settings()
    fact("compose.yaml: every variable is a setting", not unknown, str(unknown))
    print(f"{results['passed']} passed, {results['failed']} failed, {results['skipped']} skipped")
    sys.exit(1 if results["failed"] else 0)


main()
