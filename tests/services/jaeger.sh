# shellcheck shell=bash
# Jaeger: takes traces by OTLP and shows them by its query API, on loopback; they are in memory alone.
# It takes minutes to build, so only `tests/run --jaeger` asks for it.

# Built of what go.mod and go.sum name; other versions are another folder.
jaeger() {
  local sources=$root/tests/services/jaeger
  printf '%s/jaeger-%s' "$cache" "$(cat "$sources"/go.{mod,sum} | cksum | cut -d' ' -f1)"
}

# `go install` takes neither a tag (the module's path has no /v2) nor a module with a `replace`: hence a
# module of our own, which names it as a tool. Nothing but what go.sum names is taken.
install_jaeger() {
  cp "$root"/tests/services/jaeger/go.{mod,sum} "$1/" &&
    go build -C "$1" -mod=readonly -o jaeger github.com/jaegertracing/jaeger/cmd/jaeger &&
    "$1/jaeger" version
}

jaeger_missing() {
  if installed "$(jaeger)"; then
    return
  elif [[ -z $(type -P go) ]]; then
    say "there is no Go to build it with ($(jaeger_needs_go) or later)"
  else
    say "Jaeger is not installed"
  fi
}

jaeger_needs_go() { sed -n 's/^go //p' "$root/tests/services/jaeger/go.mod"; }

jaeger_start() {
  local directory=$here/jaeger grpc http query query_grpc
  grpc=$(free_port)
  http=$(free_port)
  query=$(free_port)
  query_grpc=$(free_port)
  mkdir -p "$directory"
  jaeger_settings "$grpc" "$http" "$query" "$query_grpc" >"$directory/config.yaml"
  launch jaeger TERM "$(jaeger)/jaeger" --config "$directory/config.yaml"
  offer jaeger TEST_JAEGER_GRPC_URL "http://127.0.0.1:$grpc"
  offer jaeger TEST_JAEGER_HTTP_URL "http://127.0.0.1:$http"
  offer jaeger TEST_JAEGER_QUERY_URL "http://127.0.0.1:$query"
}

# It takes traces (an empty lot: gRPC's port is open before HTTP's), and shows of whom it has some.
jaeger_answers() {
  [[ $(jaeger_status "$TEST_JAEGER_HTTP_URL" "POST /v1/traces" '{}') == 200 &&
    $(jaeger_status "$TEST_JAEGER_QUERY_URL" "GET /api/services" '') == 200 ]]
}

# jaeger_status URL REQUEST BODY
jaeger_status() {
  local status
  # "HTTP/1.0 200"
  status=$(printf '%s\r\n' "$2 HTTP/1.0" 'Content-Type: application/json' \
    "Content-Length: ${#3}" '' "$3" | ask "${1#http://}" 12) || return 1
  printf '%s' "${status##* }"
}

jaeger_clean() { rm -rf "$here/jaeger"; }

# Spans are stored as they come: what was acknowledged can be asked for. Without the extensions that
# would listen on ports of their own (health, sampling), without metrics, and without traces of itself,
# which would go to whoever listens on 4317.
jaeger_settings() {
  cat <<SETTINGS
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [jaeger_storage_exporter]
  telemetry:
    metrics:
      level: none
    logs:
      level: warn
extensions:
  jaeger_storage:
    backends:
      memory:
        memory:
          max_traces: 10000
  jaeger_query:
    storage:
      traces: memory
    enable_tracing: false
    http:
      endpoint: 127.0.0.1:$3
    grpc:
      endpoint: 127.0.0.1:$4
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:$1
      http:
        endpoint: 127.0.0.1:$2
exporters:
  jaeger_storage_exporter:
    trace_storage: memory
SETTINGS
}
