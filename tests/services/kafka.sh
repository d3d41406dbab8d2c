# shellcheck shell=bash
# Apache Kafka: one KRaft node, broker and controller in one, on loopback. It is spoken to in plain, or
# as deploy/'s workers do: by SASL over TLS, SCRAM-SHA-512, with a certificate of an authority of its own.

# The account of SASL, named as Strimzi's user is.
readonly KAFKA_USER=calendar-sync

# The jars that pom.xml names, as setup.sh has cached them.
kafka_libs() {
  printf '%s/kafka-%s' "$cache" "$(cksum <"$root/tests/services/pom.xml" | cut -d' ' -f1)"
}

kafka_missing() {
  if [[ -z $(type -P java) ]]; then
    say "there is no Java runtime"
  elif [[ -z $(type -P openssl) ]]; then
    say "there is no openssl"
  elif ! installed "$(kafka_libs)"; then
    say "Apache Kafka is not installed"
  fi
}

kafka_start() {
  local directory=$here/kafka broker tls controller password java
  broker=$(free_port)
  tls=$(free_port)
  controller=$(free_port)
  password=$(kafka_random)
  java=(java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$(kafka_libs)/*")
  mkdir -p "$directory/tls"
  kafka_certificates "$directory/tls" >>"$logs/kafka.log" 2>&1 || return 1
  kafka_properties "$broker" "$tls" "$controller" "$directory" >"$directory/server.properties"
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$(kafka_random)" \
    --add-scram "SCRAM-SHA-512=[name=$KAFKA_USER,password=$password]" \
    --config "$directory/server.properties" >>"$logs/kafka.log" 2>&1 || return 1
  launch kafka TERM "${java[@]}" kafka.Kafka "$directory/server.properties"
  offer kafka TEST_KAFKA_BROKERS "127.0.0.1:$broker"
  offer kafka TEST_KAFKA_LOG_DIR "$directory/data"
  offer kafka TEST_KAFKA_TLS_BROKERS "127.0.0.1:$tls"
  offer kafka TEST_KAFKA_TLS_CA "$directory/tls/ca.crt"
  offer kafka TEST_KAFKA_TLS_USER "$KAFKA_USER"
  offer kafka TEST_KAFKA_TLS_PASSWORD "$password"
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

# 22 letters and digits: a cluster's id, or a password.
kafka_random() { head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '='; }

# An authority, and from it the node's certificate, with its key in one file. Both end in 30 days: nobody
# leaves the services up for so long.
kafka_certificates() {
  local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 30)
  "${new[@]}" -subj "/CN=calendar-sync tests" -keyout "$1/ca.key" -out "$1/ca.crt" &&
    "${new[@]}" -subj /CN=localhost -CA "$1/ca.crt" -CAkey "$1/ca.key" \
      -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
      -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth \
      -keyout "$1/node.key" -out "$1/node.crt" &&
    cat "$1/node.key" "$1/node.crt" >"$1/node.pem"
}

# Who speaks in plain may do everything; the account of SASL, what it is given. Topics are made by who needs
# them; a group's first assignment does not wait for more members.
kafka_properties() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$1,SASL_SSL://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$1,SASL_SSL://127.0.0.1:$2
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$4/tls/node.pem
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs=$4/data
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
