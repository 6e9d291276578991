#!/usr/bin/env bash
# Installs the Debian packages of the named parts (all parts when none is named) that are not there yet. Silent when nothing is missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

wanted=()
while IFS=: read -r part packages; do
  if [ $# -eq 0 ] || [[ " $* " == *" $part "* ]]; then wanted+=($packages); fi
done < <(grep -v '^#' "$here/packages.txt")

missing=()
for package in $(printf '%s\n' "${wanted[@]}" | sort -u); do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "packages.sh: missing ${missing[*]}: run as root, or install them" >&2; exit 1; }
  root=(sudo)
fi
echo "packages.sh: installing ${missing[*]}"
# `|| true`: a source this machine cannot reach makes update fail although the Debian lists are there; install then decides.
"${root[@]}" apt-get update -qq || true
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/tmp/einhorn-apt.$$ 2>&1 ||
  { cat /tmp/einhorn-apt.$$ >&2; exit 1; }
rm -f /tmp/einhorn-apt.$$
