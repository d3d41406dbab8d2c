# shellcheck shell=bash
# Installs what the files in deploy/ are checked with, each into a folder of its own in the cache; promtool as
# tests/services/setup.sh says.

readonly KUSTOMIZE_VERSION=5.8.0

setup_deploy() {
  installed "$(deploy_types)" || [[ -n $(type -P npm) ]] || install_debian npm
  installed "$(python_environment checkov)" || python3 -c 'import ensurepip, venv' 2>/dev/null ||
    install_debian python3-venv
  install_into "promtool" "$(promtool)" install_promtool
  # It takes minutes to build.
  [[ -n $(kustomize_program) ]] || install_into "kustomize" "$(kustomize)" install_kustomize
  install_into "checkers of deploy files" "$(python_environment deploy)" install_python deploy
  install_into "Checkov" "$(python_environment checkov)" install_python checkov
  install_into "types of custom resources" "$(deploy_types)" install_deploy_types
}

deploy_types() {
  printf '%s/deploy-types-%s' "$cache" \
    "$(cksum <"$root/tests/deploy/types/package-lock.json" | cut -d' ' -f1)"
}

kustomize() { printf '%s/kustomize-%s' "$cache" "$KUSTOMIZE_VERSION"; }

# What renders an overlay: the kustomize that is in kubectl, or our own. Empty if there is none.
kustomize_program() {
  if [[ -n $(type -P kubectl) ]]; then
    printf 'kubectl kustomize'
  elif installed "$(kustomize)"; then
    printf '%s build' "$(kustomize)/kustomize"
  fi
}

install_deploy_types() {
  cp "$root"/tests/deploy/types/package{,-lock}.json "$1/" &&
    npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
}

# Needs Go; what Debian has is too old for it.
install_kustomize() { GOBIN=$1 go install "sigs.k8s.io/kustomize/kustomize/v5@v$KUSTOMIZE_VERSION"; }
