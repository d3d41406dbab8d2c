# shellcheck shell=bash
# Xandikos: a second real CalDAV server on loopback, with habits of its own. It asks nobody who he is
# (a password is only to be had with TLS), and answers 412 to nearly all that it refuses.

xandikos_missing() {
  installed "$(python_environment xandikos)" || say "Xandikos is not installed"
}

# Its own calendar stands in /host/calendars/, where clients find it; tests make theirs in /host/.
xandikos_start() {
  local directory=$here/xandikos port
  port=$(free_port)
  mkdir -p "$directory/data"
  launch xandikos TERM "$(python_environment xandikos)/bin/xandikos" serve --no-detect-systemd \
    --directory "$directory/data" --state-dir "$directory/state" \
    --defaults --current-user-principal /host/ --listen-address 127.0.0.1 --port "$port"
  offer xandikos TEST_XANDIKOS_URL "http://127.0.0.1:$port"
  offer xandikos TEST_XANDIKOS_USER host
}

# It makes a calendar, and deletes it.
xandikos_answers() {
  [[ $(xandikos_status MKCALENDAR) == 201 && $(xandikos_status DELETE) == 204 ]]
}

xandikos_status() {
  local status
  # "HTTP/1.1 201"
  status=$(printf '%s\r\n' "$1 /$TEST_XANDIKOS_USER/answers/ HTTP/1.0" 'Content-Length: 0' '' |
    ask "${TEST_XANDIKOS_URL#http://}" 12) || return 1
  printf '%s' "${status##* }"
}

xandikos_clean() { rm -rf "$here/xandikos"; }
