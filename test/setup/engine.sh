#!/usr/bin/env bash
# engine.sh start: a Docker engine answers afterwards; one is started only where none does.
# engine.sh stop:  stops the engine that `start` of this checkout started, and no other.
#
# Never a second engine beside a running one: dockerd removes and rebuilds the bridge and the firewall rules of the first.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$root/.cache/engine
pidfile=$state/dockerd.pid
# Not in the checkout: image layers hold links to anywhere, which linters and searches would follow. Images stay for the next run.
data=/var/lib/einhorn-test-engine

answers() { timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start() {
  answers && return 0
  if [ -n "${DOCKER_HOST:-}" ]; then echo "engine.sh: DOCKER_HOST=$DOCKER_HOST does not answer" >&2; return 1; fi
  bash "$root/test/setup/packages.sh" containers
  answers && return 0
  mkdir -p "$state"
  rm -f "$pidfile"
  # The exec root holds sockets, whose paths must stay under 108 bytes: not below a checkout that may lie deep.
  setsid dockerd --data-root "$data" --exec-root /run/einhorn-engine --pidfile "$pidfile" \
    -H unix:///var/run/docker.sock >"$state/log" 2>&1 </dev/null &
  for _ in $(seq 300); do
    answers && return 0
    sleep 0.1
  done
  echo "engine.sh: the Docker engine did not start; the end of its log:" >&2
  tail -20 "$state/log" >&2
  return 1
}

stop() {
  [ -f "$pidfile" ] || return 0
  local pid
  pid=$(cat "$pidfile")
  # A pid alone may meanwhile be somebody else's.
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  fi
  rm -f "$pidfile"
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  *) echo "usage: engine.sh start|stop" >&2; exit 2 ;;
esac
