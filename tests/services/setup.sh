# shellcheck shell=bash
# Installs what the tests and CI need. Downloads and builds stay in the cache, outside the checkout,
# one folder each; what is there already costs next to nothing.

readonly JAVA_VERSION_MIN=17
readonly CARGO_DENY_VERSION=0.20.2

# What could not be installed, by name.
could_not=()

setup_services() {
  mkdir -p "$cache/logs"
  # Two checkouts may install at once.
  exec 8>"$cache/lock"
  flock 8
  setup_debian
  install_into "Apache Kafka" "$(kafka_libs)" install_kafka
  install_into "Radicale" "$(python_environment radicale)" install_python radicale
  install_into "Xandikos" "$(python_environment xandikos)" install_python xandikos
  install_into "Python libraries of the golden tests" "$(python_environment golden)" \
    install_python golden
  install_into "Google's own client" "$(python_environment google)" install_python google
  install_into "Microsoft's own client" "$(python_environment graph)" install_python graph
  install_into "a CalDAV client" "$(python_environment caldav)" install_python caldav
  install_into "Microsoft's types" "$(graph_types)" install_graph_types
  install_into "promtool" "$(promtool)" install_promtool
  exec 8>&-
}

# Without Go there is nothing to try: jaeger_missing says so.
setup_jaeger() {
  [[ -n $(type -P go) ]] || return 0
  exec 8>"$cache/lock"
  flock 8
  install_into "Jaeger" "$(jaeger)" install_jaeger
  exec 8>&-
}

setup_tools() {
  exec 8>"$cache/lock"
  flock 8
  install_into "cargo-deny" "$(cargo_deny)" install_cargo_deny
  setup_deploy
  exec 8>&-
}

# Says what is missing; fails if that matters.
setup_verdict() {
  local name
  ((${#could_not[@]})) || return 0
  for name in "${could_not[@]}"; do
    warn "could not install: $name"
  done
  ! required
}

setup_debian() {
  postgres_programs >/dev/null || install_debian postgresql
  java_suffices || install_debian default-jre-headless
  [[ -n $(type -P openssl) ]] || install_debian openssl
  [[ -n $(type -P cc) && -n $(type -P make) ]] || install_debian build-essential
  installed "$(kafka_libs)" || [[ -n $(type -P mvn) ]] || install_debian maven
  installed "$(python_environment radicale)" || python3 -c 'import ensurepip, venv' 2>/dev/null ||
    install_debian python3-venv
  installed "$(graph_types)" || [[ -n $(type -P npm) ]] || install_debian npm
}

java_suffices() {
  local version
  version=$(java -version 2>&1) || return 1
  [[ $version =~ \"([0-9]+) ]] && ((BASH_REMATCH[1] >= JAVA_VERSION_MIN))
}

# The package lists are fetched only if apt cannot do without, and once.
lists_fetched=
install_debian() {
  local package=$1
  warn "installing Debian's $package …"
  apt_get install --yes --no-install-recommends "$package" && return
  if [[ -z $lists_fetched ]]; then
    lists_fetched=1
    apt_get update && apt_get install --yes --no-install-recommends "$package" && return
  fi
  could_not+=("$package (see $cache/logs/debian.log)")
}

apt_get() {
  local as_root=()
  ((EUID == 0)) || as_root=(sudo -n)
  # No daemon that a package starts may hold our locks.
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get "$@" >>"$cache/logs/debian.log" 2>&1 \
    </dev/null 8>&- 9>&-
}

# install_into NAME DIRECTORY COMMAND…: runs the command with the directory as its last argument,
# unless it was done before. A directory that is only half there does not count.
install_into() {
  local name=$1 directory=$2 log began
  shift 2
  ! installed "$directory" || return 0
  log=$cache/logs/${directory##*/}.log
  began=$(now_ms)
  warn "installing $name …"
  rm -rf "$directory"
  mkdir -p "$directory"
  if "$@" "$directory" >"$log" 2>&1 </dev/null; then
    touch "$directory/.installed"
    warn "installed $name ($(seconds_since "$began"))"
  else
    could_not+=("$name (see $log)")
    tail -n 5 "$log" >&2
  fi
}

install_kafka() {
  # Maven may leave files beside the POM.
  cp "$root/tests/services/pom.xml" "$1/pom.xml" &&
    mvn --batch-mode --quiet --file "$1/pom.xml" \
      dependency:copy-dependencies -DoutputDirectory="$1" -DincludeScope=runtime
}

# Wheels only: what has none for this machine is missing, not compiled.
install_python() {
  python3 -m venv "$2" &&
    "$2/bin/python" -m pip install --quiet --only-binary :all: \
      --requirement "$root/tests/services/requirements-$1.txt"
}

# Exactly what the lockfile names, and no script of a package is run.
install_graph_types() {
  cp "$root"/tests/services/graph-types/package{,-lock}.json "$1/" &&
    npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
}

promtool() { printf '%s/promtool' "$cache"; }

# The program alone out of Debian's package: installed, it would start a server.
install_promtool() (
  cd "$1" &&
    { apt-get download prometheus || { apt_get update && apt-get download prometheus; }; } &&
    dpkg-deb --fsys-tarfile prometheus_*.deb |
    tar --extract --to-stdout ./usr/bin/promtool >promtool &&
    chmod +x promtool && rm prometheus_*.deb && ./promtool --version
)

cargo_deny() { printf '%s/cargo-deny-%s' "$cache" "$CARGO_DENY_VERSION"; }

# It checks a file of a few hundred lines: fast to build counts, fast to run does not.
install_cargo_deny() {
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    cargo install --locked --root "$1" --version "$CARGO_DENY_VERSION" cargo-deny
}

# shellcheck source=tests/deploy/setup.sh
source "$root/tests/deploy/setup.sh"
