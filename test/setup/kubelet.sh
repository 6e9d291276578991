#!/usr/bin/env bash
# kubelet.sh build:      makes a kubelet from Debian's source package kubernetes (three minutes; kept under .cache/kubelet).
# kubelet.sh start DIR:  a containerd of its own with the images named in IMAGES (from the Docker engine), and a kubelet that runs the static
#                        pods in DIR. No control plane. The pods answer at http://127.0.0.1:10255/pods.
# kubelet.sh stop:       ends both, and takes away what they leave: mounts, cgroups, network links, kernel settings.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/kubelet
run=/run/einhorn-kubelet
kubelet=$cache/kubelet
source=kubernetes=1.20.5+really1.20.2-1.1+deb12u1

build() {
  [ -x "$kubelet" ] && return 0
  bash "$here/packages.sh" kubelet
  local work mirror
  work=$cache/build
  rm -rf "$work" && mkdir -p "$work/apt/lists/partial" "$work/gopath/src/k8s.io"
  mirror=$({ grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null || true; } | sed -n 1p)
  echo "deb-src $mirror bookworm main" >"$work/apt/sources.list"
  (
    cd "$work"
    # A list of its own, so that the machine's is not changed for the sake of one source package.
    local apt=(-o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/apt/lists" -o APT::Sandbox::User=root)
    apt-get "${apt[@]}" update -qq
    apt-get "${apt[@]}" source -qq --download-only "$source"
    dpkg-source --no-check -x ./*.dsc src >/dev/null
    ln -s "$work/src" gopath/src/k8s.io/kubernetes
    cd gopath/src/k8s.io/kubernetes
    GOPATH=$work/gopath GOCACHE=$work/gocache GO111MODULE=off GOPROXY=off CGO_ENABLED=0 nice go build -o "$kubelet.new" \
      -ldflags "-s -w -X k8s.io/kubernetes/vendor/k8s.io/component-base/version.gitVersion=v1.20.2 -X k8s.io/kubernetes/vendor/k8s.io/component-base/version.gitMajor=1 -X k8s.io/kubernetes/vendor/k8s.io/component-base/version.gitMinor=20" \
      k8s.io/kubernetes/cmd/kubelet
  )
  mv "$kubelet.new" "$kubelet"
  rm -rf "$work"
}

# pause: what holds a pod's namespaces open. The usual one would have to be pulled.
make_pause() {
  docker image inspect pause:local >/dev/null 2>&1 && return 0
  mkdir -p "$run/pause"
  printf '#include <unistd.h>\n#include <signal.h>\nstatic void end(int s) { (void)s; _exit(0); }\nint main(void) { signal(SIGTERM, end); for (;;) pause(); }\n' >"$run/pause.c"
  musl-gcc -static -Os -s -o "$run/pause/pause" "$run/pause.c"
  tar -C "$run/pause" -c pause | docker import -c 'ENTRYPOINT ["/pause"]' - pause:local >/dev/null
}

start() {
  local pods=$1 _
  mkdir -p "$run/cni" "$run/root" "$cache/containerd"
  make_pause
  cat >"$run/containerd.toml" <<END
version = 2
root = "$cache/containerd"
state = "$run/containerd"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:local"
  # Lowering the score takes CAP_SYS_RESOURCE, which root may lack here.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$run/cni"
END
  cat >"$run/cni/10-bridge.conflist" <<'END'
{ "cniVersion": "0.4.0", "name": "einhorn-test", "plugins": [
  { "type": "bridge", "bridge": "einhorn-test0", "isGateway": true, "ipMasq": true,
    "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.88.77.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } } ] }
END
  cat >"$run/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: $pods
fileCheckFrequency: 1s
syncFrequency: 5s
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
readOnlyPort: 10255
address: 127.0.0.1
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
# Nothing here may be evicted because the machine's disk is full.
evictionHard: { memory.available: "1Mi" }
END
  # What the kubelet changes for its node, to be put back by stop.
  sysctl -n vm.overcommit_memory kernel.panic kernel.panic_on_oops >"$run/sysctl"
  setsid containerd --config "$run/containerd.toml" >"$run/containerd.log" 2>&1 </dev/null &
  echo $! >"$run/containerd.pid"
  for _ in $(seq 100); do ctr -a "$run/containerd.sock" version >/dev/null 2>&1 && break; sleep 0.1; done
  # shellcheck disable=SC2086 # a list of names
  docker save pause:local ${IMAGES:-} | ctr -a "$run/containerd.sock" -n k8s.io images import - >/dev/null
  setsid "$kubelet" --config "$run/kubelet.yaml" --root-dir "$run/root" --container-runtime=remote --register-node=false \
    --container-runtime-endpoint="unix://$run/containerd.sock" --hostname-override=node1 >"$run/kubelet.log" 2>&1 </dev/null &
  echo $! >"$run/kubelet.pid"
  for _ in $(seq 300); do curl -sf -o "$run/pods.json" http://127.0.0.1:10255/pods && return 0; sleep 0.1; done
  echo "kubelet.sh: the kubelet did not start; the end of its log:" >&2
  tail -20 "$run/kubelet.log" >&2
  return 1
}

# finish NAME: ends the process that start recorded, if it is still that one.
finish() {
  local pid
  pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]; then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  fi
}

stop() {
  [ -d "$run" ] || return 0
  local id value name
  finish kubelet
  if ctr -a "$run/containerd.sock" version >/dev/null 2>&1; then
    for id in $(ctr -a "$run/containerd.sock" -n k8s.io tasks ls -q); do
      ctr -a "$run/containerd.sock" -n k8s.io tasks kill -s SIGKILL "$id" 2>/dev/null || true
    done
    for id in $(ctr -a "$run/containerd.sock" -n k8s.io containers ls -q); do
      ctr -a "$run/containerd.sock" -n k8s.io tasks delete -f "$id" >/dev/null 2>&1 || true
      ctr -a "$run/containerd.sock" -n k8s.io containers delete "$id" >/dev/null 2>&1 || true
    done
  fi
  finish containerd
  awk -v under="$run/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r name; do umount -l "$name" || true; done
  ip link delete einhorn-test0 2>/dev/null || true
  paste <(printf '%s\n' vm.overcommit_memory kernel.panic kernel.panic_on_oops) "$run/sysctl" | while read -r name value; do
    sysctl -q -w "$name=$value" || true
  done
  rm -rf "$run"
}

case "${1:-}" in
  build) build ;;
  start) start "$2" ;;
  stop) stop ;;
  *) echo "usage: kubelet.sh build | start DIR | stop" >&2; exit 2 ;;
esac
