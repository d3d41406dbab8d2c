"""The overlays, rendered: they fit Kubernetes' schemas and the types of custom resources, Checkov has
nothing against them, and what matters to us holds field by field."""

import json
import os
import pathlib
import re
import tempfile
import tomllib

import yaml

from facts import BIN, DEPLOY, ROOT, attempt, command, fact, run, settings
from kafka import kafka_facts, namespace_facts
from laptop import accepted
from network import network_facts

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

# What is told to nobody. Which file it stands in, and what a key is called, anybody may know.
SECRET = re.compile("(PASSWORD|TOKEN|SECRET|DATABASE_URL|_KEYS?)$")

# What a stand-in of a laptop's cluster is marked by: nothing of ours, and held to less.
STAND_IN = "laptop"


def check():
    paths = sorted((DEPLOY / "kustomize/overlays").iterdir())
    fact("overlays", [path.name for path in paths] == ["dev", "prod", "staging"])
    kafkas = render(DEPLOY / "kustomize/kafka")
    attempt("kafka", namespace_facts, kafkas)
    for path in paths:
        overlay(path, kafkas)


def render(path):
    done = run(*os.environ["DEPLOY_KUSTOMIZE"].split(), path)
    fact(f"{path.name}: renders", done.returncode == 0, done.stdout)
    return [thing for thing in yaml.safe_load_all(done.stdout if done.returncode == 0 else "") if thing]


def typed(name, objects, directory):
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
    modules = pathlib.Path(os.environ["DEPLOY_TYPES"])
    (directory / "node_modules").symlink_to(modules)
    (directory / "objects.ts").write_text("\n".join(lines))
    options = {"noEmit": True, "strict": True, "skipLibCheck": True, "types": [], "target": "es2022",
               "module": "nodenext", "moduleResolution": "nodenext"}
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    command(
        f"{name}: custom resources fit their types",
        "node", modules / "typescript/bin/tsc", "--project", directory,
    )


def of_kind(objects, kind):
    return [thing for thing in objects if thing["kind"] == kind]


def named(things, name):
    return next(thing for thing in things if thing["metadata"]["name"] == name)


def workload_facts(name, thing):
    pod = thing["spec"]["template"]["spec"]
    context = pod["securityContext"]
    fact(f"{name}: not as root, by number", context["runAsUser"] > 0)
    fact(f"{name}: no token of Kubernetes", pod.get("automountServiceAccountToken") is False)
    fact(f"{name}: no variables of services", pod["enableServiceLinks"] is False)
    fact(f"{name}: one container", len(pod["containers"]) == 1 and "initContainers" not in pod)
    container = pod["containers"][0]
    fact(f"{name}: read-only root", container["securityContext"].get("readOnlyRootFilesystem") is True)
    fact(f"{name}: it says what it needs, and memory is bounded",
         set(container["resources"]["requests"]) == {"cpu", "memory"}
         and set(container["resources"]["limits"]) == {"memory"})
    given = [variable["name"] for variable in container["env"] if "value" in variable]
    secret = [key for key in given if SECRET.search(key)]
    fact(f"{name}: Secrets by reference alone", not secret, str(secret))
    modes = {volume["secret"]["defaultMode"] for volume in pod["volumes"]}
    fact(f"{name}: the files of Secrets can be read, by this group alone",
         context.get("fsGroup", 0) > 0 and modes == {0o440}, f"{context} {modes}")
    seen = set()
    for variable in container["env"]:
        missing = set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) - seen
        fact(f"{name}: {variable['name']} refers to what stands before it", not missing, str(missing))
        seen.add(variable["name"])


def loose(thing):
    """What `restricted` has against the pods of a workload, which is how our namespace is marked: nothing of it
    would start. https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    pod = thing["spec"]["template"]["spec"]
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "it may be root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "all system calls"
    yield from (key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    kinds = {kind for volume in pod.get("volumes", []) for kind in set(volume) - {"name"}}
    yield from kinds - {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    for container in pod["containers"] + pod.get("initContainers", []):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{container['name']} may become more"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} has capabilities"
        if set(context) & {"runAsNonRoot", "runAsUser", "seccompProfile"}:
            yield f"{container['name']} says otherwise than its pod"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{container['name']} has a port of the host's"


def mounted(pod):
    """The files of Secrets by their paths in the container: the Secret and the key. Where a whole Secret is mounted,
    any key is a file (`None`)."""
    volumes = {volume["name"]: volume["secret"] for volume in pod["volumes"]}
    return {
        f"{mount['mountPath']}/{item['path'] if item else ''}": (secret["secretName"], item and item["key"])
        for mount in pod["containers"][0]["volumeMounts"]
        for secret in [volumes[mount["name"]]]
        for item in secret.get("items", [None])
    }


def facts(name, objects, kafkas):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    worker = named(of_kind(objects, "Deployment"), "calendar-sync")
    job = named(of_kind(objects, "Job"), f"calendar-sync-migrate-{version.replace('.', '-')}")
    configs = {config["metadata"]["name"]: config["data"] for config in of_kind(objects, "ConfigMap")}
    container = worker["spec"]["template"]["spec"]["containers"][0]
    sources = [source["configMapRef"]["name"] for source in container["envFrom"]]
    given = {key: value for source in sources for key, value in configs[source].items()}

    attempt(f"{name}: workers", workload_facts, f"{name}: workers", worker)
    attempt(f"{name}: migration", workload_facts, f"{name}: migration", job)
    attempt(name, worker_facts, name, worker, given)
    attempt(name, setting_facts, name, container, given)
    attempt(name, budget_facts, name, objects, worker)
    attempt(name, migration_facts, name, objects, worker, job)
    attempt(name, monitoring_facts, name, objects, worker)
    attempt(name, network_facts, name, objects, worker, job, given)
    attempt(name, kafka_facts, name, objects, kafkas, given, worker)
    for thing in (thing for thing in objects if "template" in thing.get("spec", {})):
        wrong = sorted(loose(thing))
        fact(f"{name}: {thing['kind']} {thing['metadata']['name']} may run in its namespace", not wrong, str(wrong))
    images = {thing["spec"]["template"]["spec"]["containers"][0]["image"] for thing in (worker, job)}
    # By its tag, or by the digest that a release has (HANDBOOK.md, "Release").
    fact(f"{name}: one image, of this version", len(images) == 1
         and re.search(rf":{re.escape(version)}$|@sha256:[0-9a-f]{{64}}$", min(images)), str(images))
    namespaces = {
        thing["metadata"].get("namespace") for thing in objects if thing["kind"] != "Namespace"
    }
    fact(f"{name}: all in one namespace", namespaces == {"calendar-sync"}, str(namespaces))
    space = of_kind(objects, "Namespace")[0]["metadata"]["labels"]
    fact(f"{name}: restricted pods alone", space["pod-security.kubernetes.io/enforce"] == "restricted")
    for account in of_kind(objects, "ServiceAccount"):
        fact(f"{name}: the account has no token", account["automountServiceAccountToken"] is False)
    if name != "dev":
        fact(f"{name}: no Secret's contents", not of_kind(objects, "Secret"))
    open_ = [key for key in given if SECRET.search(key)]
    fact(f"{name}: no Secret's contents in a ConfigMap", not open_, str(open_))


def worker_facts(name, worker, given):
    pod = worker["spec"]["template"]["spec"]
    container = pod["containers"][0]
    fact(
        f"{name}: the grace period is longer than the drain",
        pod["terminationGracePeriodSeconds"] >= int(given["SHUTDOWN_DEADLINE_S"]) + 10,
    )
    fact(f"{name}: nothing is waited for before SIGTERM", "lifecycle" not in container)
    rolling = worker["spec"]["strategy"]["rollingUpdate"]
    fact(f"{name}: a roll-out takes nobody away first", rolling == {"maxSurge": 1, "maxUnavailable": 0})
    asked = {
        probe: (container[probe]["httpGet"]["path"], container[probe]["httpGet"]["port"])
        for probe in container if probe.endswith("Probe")
    }
    fact(f"{name}: probes", asked == {
        "livenessProbe": ("/livez", "ops"),
        "readinessProbe": ("/readyz", "ops"),
        "startupProbe": ("/livez", "ops"),
    }, str(asked))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    fact(f"{name}: the port is the one that is listened on",
         given["OPS_LISTEN"] == f"0.0.0.0:{ports['ops']}", given["OPS_LISTEN"])
    keys = {constraint["topologyKey"] for constraint in pod["topologySpreadConstraints"]}
    fact(f"{name}: spread over zones and nodes",
         keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, str(keys))
    there = mounted(pod)
    files = {value for key, value in given.items() if key.endswith(("_FILE", "_LOCATION")) and value}
    lost = {file for file in files if file not in there and f"{os.path.dirname(file)}/" not in there}
    fact(f"{name}: files of settings are mounted", not lost, f"{lost} {there}")
    fact(f"{name}: the key is where the settings say",
         there.get(given["SECRETS_KEY_FILE"]) == ("calendar-sync-sealing", "key"), str(there))
    fact(f"{name}: what is mounted is a Secret, and only read",
         all("secret" in volume for volume in pod["volumes"])
         and all(mount["readOnly"] is True for mount in container["volumeMounts"]))


def setting_facts(name, container, given):
    variables = set(given) | {variable["name"] for variable in container["env"]}
    unknown = {key for key in variables - settings() if not key.startswith(("K8S_", "DEPLOYMENT_", "KAFKA_PROPERTIES_"))}
    fact(f"{name}: every variable is a setting", not unknown, str(unknown))
    literal = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    attributes = dict(pair.split("=") for pair in literal["OTEL_RESOURCE_ATTRIBUTES"].split(","))
    fact(f"{name}: traces say which pod speaks", set(attributes) == {
        "k8s.pod.name", "k8s.pod.uid", "k8s.namespace.name", "k8s.node.name", "k8s.deployment.name",
        "k8s.container.name", "deployment.environment.name",
    }, str(attributes))
    environment = [variable["valueFrom"]["configMapKeyRef"] for variable in container["env"]
                   if variable["name"] == "DEPLOYMENT_ENVIRONMENT"]
    fact(f"{name}: traces say which environment it is, and it is {name}",
         attributes["deployment.environment.name"] == "$(DEPLOYMENT_ENVIRONMENT)"
         and given[environment[0]["key"]] == name, str(environment))
    fields = {
        variable["name"]: variable["valueFrom"]["fieldRef"]["fieldPath"]
        for variable in container["env"] if "fieldRef" in variable.get("valueFrom", {})
    }
    fact(f"{name}: and it is the pod that it is in", fields == {
        "K8S_POD_NAME": "metadata.name", "K8S_POD_UID": "metadata.uid",
        "K8S_NAMESPACE_NAME": "metadata.namespace", "K8S_NODE_NAME": "spec.nodeName",
    }, str(fields))
    secrets = {
        variable["name"]: variable["valueFrom"]["secretKeyRef"] for variable in container["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    fact(f"{name}: a key that rotates out is beside the one that is used, if there is one",
         secrets["SECRETS_OLD_KEYS"] == {"name": "calendar-sync-sealing", "key": "old_keys", "optional": True},
         str(secrets.get("SECRETS_OLD_KEYS")))
    values = dict.fromkeys(secrets, "0123456789abcdef")
    tls = "sslmode=verify-full&sslrootcert=/run/secrets/database-ca/ca.crt"
    values["DATABASE_URL"] = f"postgres://user@host/database?{tls}"
    del values["SECRETS_OLD_KEYS"]
    accepted(f"{name}: the workers take their settings", {**given, **literal, **values})
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    values["SECRETS_OLD_KEYS"] = f"0={key},2={key}"
    accepted(f"{name}: ... with a former key and a coming one", {**given, **literal, **values})


def budget_facts(name, objects, worker):
    budget = named(of_kind(objects, "PodDisruptionBudget"), "calendar-sync")["spec"]
    fact(f"{name}: budget", budget["maxUnavailable"] == 1 and "minAvailable" not in budget)
    labels = worker["spec"]["template"]["metadata"]["labels"]
    fact(f"{name}: the budget is the workers'", budget["selector"]["matchLabels"].items() <= labels.items())


def migration_facts(name, objects, worker, job):
    hashed = re.findall(r'"name": "(calendar-sync-[a-z0-9]{10})"', json.dumps(job))
    fact(f"{name}: no setting changes the migration's Job", not hashed, str(hashed))
    urls = [
        variable["valueFrom"]["secretKeyRef"]["name"]
        for thing in (worker, job)
        for variable in thing["spec"]["template"]["spec"]["containers"][0]["env"]
        if variable["name"] == "DATABASE_URL"
    ]
    fact(f"{name}: another database role migrates", len(set(urls)) == 2)
    for thing in (worker, job):
        there = mounted(thing["spec"]["template"]["spec"])
        fact(f"{name}: {thing['kind']}: the authority of the database's certificate is where the handbook says",
             there.get("/run/secrets/database-ca/ca.crt") == ("calendar-sync-database-ca", "ca.crt"), str(there))
    needed = {(thing["kind"], thing["metadata"]["name"]) for thing in objects if wave(thing) == -2}
    fact(f"{name}: what the migration needs goes before it", needed == {
        ("Namespace", "calendar-sync"), ("ServiceAccount", "calendar-sync"),
        ("ConfigMap", "calendar-sync-installation"), ("NetworkPolicy", "calendar-sync-migrate"),
    }, str(needed))
    fact(f"{name}: the migration goes before the workers", -2 < wave(job) < wave(worker))
    # As `kubectl apply --selector` in HANDBOOK.md.
    chosen = [thing for thing in objects
              if thing["metadata"].get("labels", {}).get("app.kubernetes.io/component") in ("installation", "migrate")]
    fact(f"{name}: the selector of the handbook chooses exactly these",
         {(thing["kind"], thing["metadata"]["name"]) for thing in chosen}
         == needed | {("Job", job["metadata"]["name"])})


def wave(thing):
    return int(thing["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


def monitoring_facts(name, objects, worker):
    labels = worker["spec"]["template"]["metadata"]["labels"]
    for monitor in of_kind(objects, "PodMonitor"):
        fact(f"{name}: metrics are asked of the workers",
             monitor["spec"]["selector"]["matchLabels"].items() <= labels.items())
        asked = [(each["port"], each["path"]) for each in monitor["spec"]["podMetricsEndpoints"]]
        fact(f"{name}: metrics are asked where they are", asked == [("ops", "/metrics")], str(asked))
        board = named(of_kind(objects, "ConfigMap"), "calendar-sync-dashboard")
        fact(f"{name}: Grafana finds the dashboard", board["metadata"]["labels"]["grafana_dashboard"] == "1"
             and json.loads(board["data"]["calendar-sync.json"])["uid"] == "calendar-sync")
        fact(f"{name}: alerts come with it", len(of_kind(objects, "PrometheusRule")) == 1)


def overlay(path, kafkas):
    name = path.name
    objects = render(path)
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
        ours = [thing for thing in objects if not stands_in(thing)]
        (directory / "ours.yaml").write_text(yaml.safe_dump_all(ours))
        command(
            f"{name}: Checkov", os.environ["DEPLOY_CHECKOV"], "--framework", "kubernetes", "--skip-download",
            "--compact", "--quiet", "--skip-check", ",".join(CHECKOV_SKIPPED), "--file", directory / "ours.yaml",
        )
        typed(name, objects, directory)
    attempt(name, facts, name, objects, kafkas)


def stands_in(thing):
    return thing["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == STAND_IN
