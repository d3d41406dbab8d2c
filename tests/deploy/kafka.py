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


def kafka_facts(name, objects, given, worker):
    topics = [thing for thing in objects if thing["kind"] == "KafkaTopic"]
    scaled = [thing for thing in objects if thing["kind"] == "ScaledObject"]
    fact(f"{name}: a topic, where workers are scaled by it", len(topics) == 1 or not scaled)
    for topic in topics:
        attempt(name, topic_facts, name, topic, given)
    for thing in scaled:
        attempt(name, scaling_facts, name, thing["spec"], topics[0]["spec"]["partitions"], given, worker)
    for user in (thing for thing in objects if thing["kind"] == "KafkaUser"):
        attempt(name, account_facts, name, user, given, worker)


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
    named = {metadata[key] for key in metadata if key.endswith("FromEnv")}
    fact(f"{name}: KEDA asks for what the workers read", named == {"KAFKA_BROKERS", "KAFKA_TOPIC", "KAFKA_GROUP"}
         and named <= set(given), str(named))
    fact(f"{name}: KEDA logs in as the workers do", metadata["sasl"] == "scram_sha512"
         and given["KAFKA_SASL_MECHANISM"] == "SCRAM-SHA-512" and metadata["tls"] == "enable"
         and given["KAFKA_SECURITY_PROTOCOL"] == "sasl_ssl")


def account_facts(name, user, given, worker):
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
    secrets = {
        variable["name"]: variable["valueFrom"]["secretKeyRef"]
        for variable in worker["spec"]["template"]["spec"]["containers"][0]["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    fact(f"{name}: its password is the one that the operator keeps",
         secrets["KAFKA_SASL_PASSWORD"]["name"] == user["metadata"]["name"])
