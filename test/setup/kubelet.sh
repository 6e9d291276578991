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

case "${1:-}" in
  build) build ;;
  *) echo "usage: kubelet.sh build" >&2; exit 2 ;;
esac
