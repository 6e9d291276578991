#!/usr/bin/env bash
# musl-node.sh DIR: puts a Node that is linked against musl into DIR/node, with the libraries it needs in DIR/lib.
#
# No registry package holds a plain one, but the static build of pnpm is the musl build of Node 26 with a program attached; clearing the
# mark that says so gives the plain node back. It wants libstdc++ and libgcc, for which Debian's do, with musl-shim.c for what they
# expect of glibc.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1
[ -x "$out/node" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent @pnpm/linuxstatic-x64@11.21.0 >/dev/null && tar -xzf ./*.tgz)
# Not stripped: the attached program lies in a section that strip would misplace.
mv "$work/package/pnpm" "$work/node"
fuse=NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:
offset=$(grep -abo "$fuse" "$work/node" | head -1 | cut -d: -f1)
printf 0 | dd of="$work/node" bs=1 seek=$((offset + ${#fuse})) conv=notrunc status=none
chmod 755 "$work/node"

mkdir -p "$out/lib"
cp -L /usr/lib/x86_64-linux-gnu/libstdc++.so.6 /lib/x86_64-linux-gnu/libgcc_s.so.1 "$out/lib/"
cp -L /lib/ld-musl-x86_64.so.1 "$out/lib/"
ln -sf ld-musl-x86_64.so.1 "$out/lib/libc.musl-x86_64.so.1"
# Under the name of glibc's loader, which Debian's two libraries ask for and musl has no answer to.
musl-gcc -shared -fPIC -O2 -o "$out/lib/ld-linux-x86-64.so.2" "$here/musl-shim.c"
cp "$work/node" "$out/node.new"
mv "$out/node.new" "$out/node"
