"""Topic, account and autoscaling agree with the settings of the workers."""

from facts import attempt, fact

# https://keda.sh/docs/latest/scalers/apache-kafka/; nothing else checks these names.
TRIGGER = {
    "bootstrapServersFromEnv", "topicFromEnv", "consumerGroupFromEnv", "sasl", "tls", "lagThreshold",
    "activationLagThreshold", "offsetResetPolicy", "allowIdleConsumers", "limitToPartitionsWithLag",
    "excludePersistentLag", "scaleToZeroOnInvalidOffset", "version",
}
# https://kafka.apache.org/documentation/#topicconfigs
TOPIC = {"min.insync.replicas", "unclean.leader.election.enable", "cleanup.policy", "retention.ms"}


def kafka_facts(name, objects, kafkas, given, worker):
    """`kafkas` is what stands in Kafka's namespace."""
    theirs = {thing["kind"] for thing in objects if thing["apiVersion"].startswith("kafka.strimzi.io/")}
    fact(f"{name}: whoever deletes it takes nothing of Kafka's with it", not theirs, str(theirs))
    scaled = [thing["spec"] for thing in objects if thing["kind"] == "ScaledObject"]
    fact(f"{name}: scaled, unless on a laptop", len(scaled) == (name != "dev"))
    topic, user = (next(thing for thing in kafkas if thing["kind"] == kind) for kind in ("KafkaTopic", "KafkaUser"))
    for spec in scaled:
        attempt(name, scaling_facts, name, spec, topic["spec"]["partitions"], given, worker)
        attempt(name, login_facts, name, spec, objects, given, worker)
        attempt(name, topic_facts, name, topic, given)
        attempt(name, account_facts, name, user, given)


def namespace_facts(kafkas):
    """What is applied to Kafka's own namespace: there alone, where its operators look."""
    kinds = sorted(thing["kind"] for thing in kafkas)
    fact("kafka: a topic and an account", kinds == ["KafkaTopic", "KafkaUser"], str(kinds))
    fact("kafka: in its own namespace", {thing["metadata"]["namespace"] for thing in kafkas} == {"kafka"})
    fact("kafka: of one cluster", len({thing["metadata"]["labels"]["strimzi.io/cluster"] for thing in kafkas}) == 1)
    versions = {thing["apiVersion"] for thing in kafkas}
    fact("kafka: as Strimzi 0.49 and later have them", versions == {"kafka.strimzi.io/v1"}, str(versions))
    topic = next(thing for thing in kafkas if thing["kind"] == "KafkaTopic")
    options = topic["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
    fact("kafka: Argo CD never deletes the topic", set(options.split(",")) >= {"Prune=false", "Delete=false"}, options)


def topic_facts(name, topic, given):
    spec = topic["spec"]
    fact(f"{name}: the topic is the one that is read", topic["metadata"]["name"] == given["KAFKA_TOPIC"])
    fact(f"{name}: the topic has the fields that Strimzi knows",
         set(spec) == {"partitions", "replicas", "config"} and set(spec["config"]) == TOPIC, str(spec))
    fact(f"{name}: the topic is not compacted", spec["config"]["cleanup.policy"] == "delete")
    fact(f"{name}: an acknowledged event survives a broker",
         spec["replicas"] >= 3 and 2 <= spec["config"]["min.insync.replicas"] < spec["replicas"])


def scaling_facts(name, spec, partitions, given, worker):
    fact(
        f"{name}: no more workers than partitions",
        1 <= spec.get("minReplicaCount", 0) <= spec.get("maxReplicaCount", 100) <= partitions,
    )
    fact(f"{name}: KEDA alone sets the number of workers", "replicas" not in worker["spec"])
    fact(f"{name}: what is scaled are the workers", spec["scaleTargetRef"]["name"] == worker["metadata"]["name"])
    fact(f"{name}: without Kafka's word there are workers",
         1 <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"])
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    fact(f"{name}: scaled down late, and one by one",
         down["stabilizationWindowSeconds"] >= 300
         and [(policy["type"], policy["value"]) for policy in down["policies"]] == [("Pods", 1)])
    trigger = spec["triggers"][0]
    metadata = trigger["metadata"]
    fact(f"{name}: scaled by Kafka's lag alone", len(spec["triggers"]) == 1 and trigger["type"] == "kafka")
    fact(f"{name}: the trigger has the fields that KEDA knows", set(metadata) <= TRIGGER, str(set(metadata) - TRIGGER))
    fact(f"{name}: no worker that would read nothing",
         metadata["allowIdleConsumers"] == "false" and metadata["limitToPartitionsWithLag"] == "true")
    # Before 2.1 is what Kafka 4 no longer speaks, and without a version KEDA takes 1.0.0.
    version = tuple(int(part) for part in metadata["version"].split("."))
    fact(f"{name}: KEDA speaks a protocol that brokers understand", (2, 1, 0) <= version < (4, 0, 0), str(version))
    named = {metadata[key] for key in metadata if key.endswith("FromEnv")}
    fact(f"{name}: KEDA asks for what the workers read", named == {"KAFKA_BROKERS", "KAFKA_TOPIC", "KAFKA_GROUP"}
         and named <= set(given), str(named))
    fact(f"{name}: KEDA logs in as the workers do", metadata["sasl"] == "scram_sha512"
         and given["KAFKA_SASL_MECHANISM"] == "SCRAM-SHA-512" and metadata["tls"] == "enable"
         and given["KAFKA_SECURITY_PROTOCOL"] == "sasl_ssl")


def login_facts(name, spec, objects, given, worker):
    """How KEDA logs in: by what is in the workers' own container."""
    logins = {thing["metadata"]["name"]: thing["spec"] for thing in objects if thing["kind"] == "TriggerAuthentication"}
    reference = spec["triggers"][0]["authenticationRef"]
    fact(f"{name}: KEDA's login is there", reference["name"] in logins
         and reference.get("kind", "TriggerAuthentication") == "TriggerAuthentication", str(reference))
    login = logins[reference["name"]]
    pod = worker["spec"]["template"]["spec"]
    container = pod["containers"][0]
    variables = set(given) | {variable["name"] for variable in container["env"]}
    taken = {each["parameter"]: each["name"] for each in login["env"]}
    fact(f"{name}: KEDA has the workers' account and password", set(login) == {"env", "secretTargetRef"}
         and taken == {"username": "KAFKA_SASL_USERNAME", "password": "KAFKA_SASL_PASSWORD"}
         and set(taken.values()) <= variables, str(taken))
    containers = {each["containerName"] for each in login["env"]} | {spec["scaleTargetRef"]["envSourceContainerName"]}
    fact(f"{name}: KEDA looks for them in the container that is there", containers == {container["name"]},
         str(containers))
    trusted = {
        (volume["secret"]["secretName"], item["key"])
        for volume in pod["volumes"] for item in volume["secret"].get("items", [])
        for mount in container["volumeMounts"] if mount["name"] == volume["name"]
        if given["KAFKA_SSL_CA_LOCATION"] == f"{mount['mountPath']}/{item['path']}"
    }
    asked = [(each["parameter"], each["name"], each["key"]) for each in login["secretTargetRef"]]
    fact(f"{name}: KEDA trusts the authority that the workers trust",
         asked == [("ca", *secret) for secret in trusted], f"{asked} {trusted}")


def account_facts(name, user, given):
    fact(f"{name}: the account has the fields that Strimzi knows",
         set(user["spec"]) == {"authentication", "authorization"}
         and user["spec"]["authentication"] == {"type": "scram-sha-512"}
         and user["spec"]["authorization"]["type"] == "simple")
    rights = {
        (acl["resource"]["type"], acl["resource"]["name"], acl["resource"]["patternType"], operation)
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    wanted = {
        (kind, resource, "literal", operation)
        for kind, resource in (("topic", given["KAFKA_TOPIC"]), ("group", given["KAFKA_GROUP"]))
        for operation in ("Read", "Describe")
    }
    fact(f"{name}: the account reads its topic in its group, and no more", rights == wanted, str(rights ^ wanted))
    fact(f"{name}: the account is the workers'", user["metadata"]["name"] == given["KAFKA_SASL_USERNAME"])
