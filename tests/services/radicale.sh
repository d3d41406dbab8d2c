# shellcheck shell=bash
# Radicale: a real CalDAV server on loopback.

radicale_missing() {
  installed "$(python_environment radicale)" || say "Radicale is not installed"
}

radicale_start() {
  local directory=$here/radicale port user
  port=$(free_port)
  mkdir -p "$directory"
  for user in host host{1..8}; do
    say "$user:host-password"
  done >"$directory/users"
  radicale_settings "$port" "$directory" >"$directory/config"
  launch radicale TERM "$(python_environment radicale)/bin/python" -m radicale \
    --config "$directory/config"
  offer radicale TEST_RADICALE_URL "http://127.0.0.1:$port"
  offer radicale TEST_RADICALE_USER host
  offer radicale TEST_RADICALE_PASSWORD host-password
}

# It makes a calendar, and deletes it.
radicale_answers() {
  [[ $(radicale_status MKCALENDAR) == 201 && $(radicale_status DELETE) == 200 ]]
}

radicale_status() {
  local credentials status
  credentials=$(printf '%s:%s' "$TEST_RADICALE_USER" "$TEST_RADICALE_PASSWORD" | base64)
  # "HTTP/1.1 201"
  status=$(printf '%s\r\n' "$1 /$TEST_RADICALE_USER/answers/ HTTP/1.0" \
    "Authorization: Basic $credentials" 'Content-Length: 0' '' |
    ask "${TEST_RADICALE_URL#http://}" 12) || return 1
  printf '%s' "${status##* }"
}

radicale_clean() { rm -rf "$here/radicale"; }

# Each user makes calendars below /user/, and sees no other's. By default a ninth connection at once
# is cut off, and a refused password is answered after a second.
radicale_settings() {
  cat <<SETTINGS
[server]
hosts = 127.0.0.1:$1
max_connections = 64
[auth]
type = htpasswd
htpasswd_filename = $2/users
htpasswd_encryption = plain
delay = 0
[rights]
type = owner_only
[storage]
filesystem_folder = $2/collections
[logging]
level = warning
SETTINGS
}
