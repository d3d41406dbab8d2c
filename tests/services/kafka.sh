# shellcheck shell=bash
# Apache Kafka: one KRaft node, broker and controller in one, on loopback.

# The jars that pom.xml names, as setup.sh has cached them.
kafka_libs() {
  printf '%s/kafka-%s' "$cache" "$(cksum <"$root/tests/services/pom.xml" | cut -d' ' -f1)"
}

kafka_missing() {
  if [[ -z $(type -P java) ]]; then
    say "there is no Java runtime"
  elif ! installed "$(kafka_libs)"; then
    say "Apache Kafka is not installed"
  fi
}

kafka_start() {
  local directory=$here/kafka broker controller java
  broker=$(free_port)
  controller=$(free_port)
  java=(java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$(kafka_libs)/*")
  mkdir -p "$directory"
  kafka_properties "$broker" "$controller" "$directory/data" >"$directory/server.properties"
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$(kafka_cluster_id)" \
    --config "$directory/server.properties" >>"$logs/kafka.log" 2>&1 || return 1
  launch kafka TERM "${java[@]}" kafka.Kafka "$directory/server.properties"
  offer kafka TEST_KAFKA_BROKERS "127.0.0.1:$broker"
  offer kafka TEST_KAFKA_LOG_DIR "$directory/data"
}

# One broker at least in the answer to a metadata request (version 4, no topics): the node has then
# registered with itself as the controller, and creates topics.
kafka_answers() {
  local brokers
  brokers=$(printf '\0\0\0\017\0\003\0\004\0\0\0\001\377\377\0\0\0\0\0' |
    ask "$TEST_KAFKA_BROKERS" 16 | od -An -tu1 -j12 2>/dev/null) || return 1
  [[ $brokers == *[1-9]* ]]
}

kafka_clean() { rm -rf "$here/kafka"; }

kafka_cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '='; }

# Topics are made by who needs them; a group's first assignment does not wait for more members.
kafka_properties() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
log.dirs=$3
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
PROPERTIES
}
