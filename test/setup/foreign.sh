#!/usr/bin/env bash
# foreign.sh ARCH DIR PACKAGE...: unpacks Debian packages of another architecture into DIR, installing nothing.
set -euo pipefail
architecture=$1 out=$(mkdir -p "$2" && cd "$2" && pwd)
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"
mirror=$({ grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null || true; } | sed -n 1p)
echo "deb [arch=$architecture] ${mirror:-http://deb.debian.org/debian} bookworm main" >"$work/sources"
# Lists of its own: the machine's know its own architecture, and stay as they are.
apt=(-o "Dir::Etc::sourcelist=$work/sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work"
  -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update -qq
(cd "$work" && apt-get "${apt[@]}" download -qq "$@")
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$out"; done
