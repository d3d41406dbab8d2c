"""Who may speak with whom: nothing but what the service needs."""

import json

from facts import fact

# The whole Internet, and nothing private.
OPEN = [
    {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                                     "172.16.0.0/12", "192.168.0.0/16"]},
    {"cidr": "::/0", "except": ["::1/128", "fc00::/7", "fe80::/10"]},
]


def pods(namespace, **labels):
    """The peer of a rule: pods with these labels, in the namespace of this name, or in our own."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}} if namespace else {}
    if labels:
        names = {"app": "k8s-app", "name": "app.kubernetes.io/name", "part": "app.kubernetes.io/part-of"}
        peer["podSelector"] = {"matchLabels": {names[key]: value for key, value in labels.items()}}
    return peer


DNS = ([pods("kube-system", app="kube-dns")], ["53/UDP", "53/TCP"])
CALENDARS = ([{"ipBlock": block} for block in OPEN], ["443/TCP"])


def expected(name):
    """Of the workers and of the migration, each way out: to whom, and by which ports."""
    if name == "dev":
        # The stand-in for Kafka has no TLS, and there is none for the registry.
        workers = [([pods(None, part="laptop")], ["9092/TCP", "5432/TCP", "4317/TCP", "4318/TCP"])]
        database = ([pods(None, name="postgres", part="laptop")], ["5432/TCP"])
    else:
        database = ([pods("postgresql")], ["5432/TCP"])
        workers = [([pods("kafka")], ["9093/TCP", "8081/TCP"]),
                   ([pods("observability")], ["4317/TCP", "4318/TCP"]), database]
    return [DNS, CALENDARS, *workers], [DNS, database]


def ways(rules, side):
    """What the rules open, as text that can be compared: each peer with each of its ports."""
    found = set()
    for rule in rules:
        ports = [f"{port['port']}/{port['protocol']}" for port in rule.get("ports", [])]
        found |= {way(peer, port) for peer in rule.get(side) or ["anybody"] for port in ports or ["any port"]}
    return found


def way(peer, port):
    return f"{json.dumps(peer, sort_keys=True)} {port}"


def all_of(rules):
    return {way(peer, port) for peers, ports in rules for peer in peers for port in ports}


def network_facts(name, objects, worker, job, given):
    policies = {thing["metadata"]["name"]: thing["spec"] for thing in objects if thing["kind"] == "NetworkPolicy"}
    for workload, thing, wanted in zip(("worker", "migrate"), (worker, job), expected(name)):
        policy = policies[f"calendar-sync-{workload}"]
        labels = thing["spec"]["template"]["metadata"]["labels"]
        fact(f"{name}: {workload}: the policy is its own",
             policy["podSelector"]["matchLabels"].items() <= labels.items() and policy["podSelector"]["matchLabels"])
        fact(f"{name}: {workload}: nothing comes in or goes out but what is named",
             set(policy["policyTypes"]) == {"Ingress", "Egress"})
        out = ways(policy["egress"], "to")
        fact(f"{name}: {workload}: it reaches whom it needs, each by their own ports, and nobody else",
             out == all_of(wanted), "\n".join(sorted(out ^ all_of(wanted))))
    asking = all_of([([pods("monitoring", name="prometheus"), pods("bookings", name="booking-service")], ["ops/TCP"])])
    come = ways(policies["calendar-sync-worker"]["ingress"], "from")
    fact(f"{name}: Prometheus and the booking application ask, and nobody else", come == asking, str(come ^ asking))
    fact(f"{name}: nobody asks the migration", not policies["calendar-sync-migrate"].get("ingress"))
    out = ways(policies["calendar-sync-worker"]["egress"], "to")
    for key in ("KAFKA_BROKERS", "OTEL_EXPORTER_OTLP_ENDPOINT", "REGISTRY_URL"):
        if address := given[key]:
            host, _, port = address.rpartition("//")[2].rpartition(":")
            # `service.namespace.svc`; without a dot, in our own.
            peer = pods(host.split(".")[1]) if "." in host else pods(None, part="laptop")
            fact(f"{name}: the way to {address} is open", way(peer, f"{port}/TCP") in out)
    ingress_facts(name, objects, worker, given, policies)


def ingress_facts(name, objects, worker, given, policies):
    services = [thing for thing in objects
                if thing["kind"] == "Service" and thing["metadata"]["name"] == "calendar-sync"]
    labels = worker["spec"]["template"]["metadata"]["labels"]
    fact(f"{name}: the Service leads to the workers, inside alone", len(services) == 1
         and services[0]["spec"]["selector"].items() <= labels.items()
         and services[0]["spec"].get("type", "ClusterIP") == "ClusterIP")
    entries = [thing["spec"] for thing in objects if thing["kind"] == "Ingress"]
    paths = [
        (rule["host"], path["path"], path["pathType"])
        for entry in entries for rule in entry["rules"] for path in rule["http"]["paths"]
    ]
    public = given["CONNECT_PUBLIC_URL"].removeprefix("https://")
    fact(f"{name}: from outside /connect/ is reached, and nothing else",
         paths == ([(public, "/connect/", "Prefix")] if public else []), str(paths))
    fact(f"{name}: who lets hosts in has a policy, and nobody else",
         ("calendar-sync-connect" in policies) == bool(entries))
    for entry in entries:
        hosts = [host for tls in entry["tls"] for host in tls["hosts"]]
        fact(f"{name}: from outside by TLS alone", hosts == [public], str(hosts))
        controller = entry["ingressClassName"]
        policy = policies["calendar-sync-connect"]
        come = ways(policy["ingress"], "from")
        fact(f"{name}: hosts come by {controller}, and by it alone",
             come == all_of([([pods(controller, name=controller)], ["ops/TCP"])]), str(come))
        fact(f"{name}: ... to the workers", policy["podSelector"]["matchLabels"].items() <= labels.items()
             and policy["policyTypes"] == ["Ingress"])
