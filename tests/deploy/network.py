"""Who may speak with whom: nothing but what the service needs."""

from facts import fact


def network_facts(name, objects, worker, job, given):
    policies = {thing["metadata"]["name"]: thing["spec"] for thing in objects if thing["kind"] == "NetworkPolicy"}
    for workload, thing in (("worker", worker), ("migrate", job)):
        policy = policies[f"calendar-sync-{workload}"]
        labels = thing["spec"]["template"]["metadata"]["labels"]
        fact(f"{name}: {workload}: the policy is its own",
             policy["podSelector"]["matchLabels"].items() <= labels.items() and policy["podSelector"]["matchLabels"])
        fact(f"{name}: {workload}: nothing comes in or goes out but what is named",
             set(policy["policyTypes"]) == {"Ingress", "Egress"})
    worker_policy = policies["calendar-sync-worker"]
    out = opened(worker_policy["egress"], "to")
    # The stand-in for Kafka has no TLS, and there is none for the registry.
    kafka = {"9092/TCP"} if name == "dev" else {"9093/TCP", "8081/TCP"}
    wanted = {"53/UDP", "53/TCP", "443/TCP", "5432/TCP", "4317/TCP", "4318/TCP"} | kafka
    fact(f"{name}: workers reach DNS, Kafka, registry, database, collector and calendars alone",
         out == wanted, str(out ^ wanted))
    migrating = opened(policies["calendar-sync-migrate"]["egress"], "to")
    fact(f"{name}: the migration reaches DNS and the database alone",
         migrating == {"53/UDP", "53/TCP", "5432/TCP"}, str(migrating))
    for policy_name, policy in policies.items():
        if policy_name.startswith("calendar-sync-"):
            come = opened(policy.get("ingress", []), "from")
            fact(f"{name}: {policy_name}: by its port alone", come <= {"ops/TCP"}, str(come))
    blocks = [peer["ipBlock"] for rule in worker_policy["egress"] for peer in rule["to"] if "ipBlock" in peer]
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10",
               "fc00::/7", "fe80::/10", "::1/128"}
    fact(f"{name}: of the whole Internet, nothing private",
         private == {net for block in blocks for net in block["except"]} and len(blocks) == 2)
    for key in ("KAFKA_BROKERS", "OTEL_EXPORTER_OTLP_ENDPOINT", "REGISTRY_URL"):
        if address := given[key]:
            fact(f"{name}: the way to {address} is open", f"{address.rpartition(':')[2]}/TCP" in out)
    ingress_facts(name, objects, worker, given)


def opened(rules, side):
    """All ports of the rules; `any` for a rule that names no peer or no port."""
    found = set()
    for rule in rules:
        if not rule.get(side) or not rule.get("ports") or {} in rule[side]:
            found.add("any")
        found |= {f"{port['port']}/{port['protocol']}" for port in rule.get("ports", [])}
    return found


def ingress_facts(name, objects, worker, given):
    services = [thing for thing in objects if thing["kind"] == "Service" and thing["metadata"]["name"] == "calendar-sync"]
    labels = worker["spec"]["template"]["metadata"]["labels"]
    fact(f"{name}: the Service leads to the workers, inside alone", len(services) == 1
         and services[0]["spec"]["selector"].items() <= labels.items()
         and services[0]["spec"].get("type", "ClusterIP") == "ClusterIP")
    ways = [
        (rule["host"], path["path"], path["pathType"])
        for thing in objects if thing["kind"] == "Ingress"
        for rule in thing["spec"]["rules"] for path in rule["http"]["paths"]
    ]
    public = given["CONNECT_PUBLIC_URL"].removeprefix("https://")
    fact(f"{name}: from outside /connect/ is reached, and nothing else",
         ways == ([(public, "/connect/", "Prefix")] if public else []), str(ways))
    for thing in objects:
        if thing["kind"] == "Ingress":
            hosts = [host for tls in thing["spec"]["tls"] for host in tls["hosts"]]
            fact(f"{name}: from outside by TLS alone", hosts == [public], str(hosts))
