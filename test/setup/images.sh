#!/usr/bin/env bash
# images.sh NAME...: makes the named base images where the engine does not have them yet, without a registry.
#
#   node:20 node:22 node:24 node:26   stand-ins for node:XX-bookworm-slim: the node binary, its libraries, a busybox, uid 1000
#   node:musl                         the same with a node linked against musl, as in node:XX-alpine
#   node:arm64                        the same for arm64, run by qemu-user on a machine of another architecture
#   debian                            debian:bookworm-slim, by debootstrap
#   python ruby golang gcc            debian with that language from Debian
#   musl                              busybox and musl without Node, as alpine
#   product:TAG                       docker/Dockerfile on node:TAG, from dist/ as it is now
#   product:files                     its stage `files`: einhorn alone
#   product:single                    docker/single.Dockerfile: the single executable
#   recipe:LANGUAGE                   docker/recipes/LANGUAGE.Dockerfile on that language's example
#   example:NAME                      examples/NAME/Dockerfile
#   recipe:go-musl                    the one for Go on the musl product
#   copied                            Node and einhorn copied into `musl`, as docker/README.md says
#   kubernetes                        the image of examples/kubernetes
# All are tagged einhorn-test/NAME, so that no official image of the same name is shadowed. What takes long is kept under .cache/.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache
path='ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
mkdir -p "$cache"

has() { docker image inspect "einhorn-test/$1" >/dev/null 2>&1; }

# import DIR NAME CMD: an image of a directory.
import() {
  tar -C "$1" --numeric-owner -c . | docker import -c "CMD [\"$3\"]" -c "$path" - "einhorn-test/$2" >/dev/null
}

# skeleton DIR: the directories, users and shell that a small image needs.
skeleton() {
  local out=$1 applet
  mkdir -p "$out"/{bin,lib,lib64,usr/local/bin,usr/local/lib,usr/bin,usr/lib,etc,tmp,proc,sys,dev,run,root,home/node,app}
  chmod 1777 "$out/tmp"
  chown 1000:1000 "$out/home/node"
  cp /bin/busybox "$out/bin/busybox"
  for applet in $(busybox --list); do [ -e "$out/bin/$applet" ] || ln -s busybox "$out/bin/$applet"; done
  ln -s /bin/busybox "$out/usr/bin/env"
  printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$out/etc/passwd"
  printf 'root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n' >"$out/etc/group"
  printf 'hosts: files dns\n' >"$out/etc/nsswitch.conf"
}

make_node() {
  local out=$1 node library
  node=$(node "$here/../../bundle/nodes.mjs" linux-x64 "$2")
  skeleton "$out"
  strip -s -o "$out/usr/local/bin/node" "$node"
  ldd "$node" | grep -oE '/[^ ]+' | sort -u | while read -r library; do
    mkdir -p "$out$(dirname "$library")"
    cp -L "$library" "$out$library"
  done
  cp -L /lib/x86_64-linux-gnu/{libnss_files.so.2,libnss_dns.so.2,libresolv.so.2} "$out/lib/x86_64-linux-gnu/"
  import "$out" "node:$2" node
}

# run_arm64: has the kernel run programs for arm64 by qemu-user, in containers too (flag F: the interpreter is opened now, on this machine).
run_arm64() {
  local registry=/proc/sys/fs/binfmt_misc magic mask
  [ "$(uname -m)" = aarch64 ] && return 0
  [ -e "$registry/register" ] || mount -t binfmt_misc none "$registry"
  [ -e "$registry/qemu-aarch64" ] && return 0
  magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":qemu-aarch64:M::$magic:$mask:/usr/bin/qemu-aarch64-static:F" >"$registry/register"
}

make_arm64() {
  local out=$1 libraries=/usr/aarch64-linux-gnu/lib
  run_arm64
  bash "$here/foreign.sh" arm64 "$out/foreign" busybox-static
  skeleton "$out"
  mv "$out/foreign/bin/busybox" "$out/bin/busybox"
  rm -rf "$out/foreign"
  cp "$(node "$here/../../bundle/nodes.mjs" linux-arm64 "$2")" "$out/usr/local/bin/node"
  mkdir -p "$out/lib/aarch64-linux-gnu"
  cp -L "$libraries"/lib{c,m,dl,pthread,rt,stdc++,gcc_s,atomic}.so.[0-9] "$out/lib/aarch64-linux-gnu/"
  cp -L "$libraries/ld-linux-aarch64.so.1" "$out/lib/"
  # An import would record this machine's architecture.
  printf 'FROM scratch\nCOPY . /\nENV %s\nCMD ["node"]\n' "${path#ENV }" >"$out.Dockerfile"
  build node:arm64 --platform linux/arm64 -f "$out.Dockerfile" "$out"
  rm "$out.Dockerfile"
}

make_musl() {
  bash "$here/musl-node.sh" "$cache/musl-node"
  skeleton "$1"
  cp -a "$cache"/musl-node/lib/{ld-musl-x86_64.so.1,libc.musl-x86_64.so.1,ld-linux-x86-64.so.2} "$1/lib/"
  if [ "$2" = node ]; then
    cp "$cache/musl-node/node" "$1/usr/local/bin/node"
    # Where Alpine's libstdc++ package has them.
    cp "$cache"/musl-node/lib/lib{stdc++.so.6,gcc_s.so.1} "$1/usr/lib/"
    import "$1" node:musl node
  else
    import "$1" musl sh
  fi
}

make_debian() {
  local kept=$cache/debian-bookworm-slim.tar
  if [ ! -f "$kept" ]; then
    local mirror
    # One of the two places does not exist; the first hit decides.
    mirror=$({ grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null || true; } | sed -n 1p)
    debootstrap --variant=minbase bookworm "$1" ${mirror:+"$mirror"} >"$cache/debootstrap.log" 2>&1 ||
      { tail -20 "$cache/debootstrap.log" >&2; return 1; }
    tar -C "$1" --numeric-owner --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' \
      --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' -cf "$kept.new" .
    mv "$kept.new" "$kept"
  fi
  docker import -c 'CMD ["bash"]' -c "$path" "$kept" einhorn-test/debian >/dev/null
}

# make_language NAME PACKAGES: debian with these packages.
make_language() {
  bash "$here/images.sh" debian
  printf 'FROM einhorn-test/debian\nRUN apt-get update && apt-get install -y --no-install-recommends %s && rm -rf /var/lib/apt/lists/*\n' "$2" |
    build "$1" -
}

# make_product TAG
make_product() {
  if [ "$1" = single ]; then
    node "$here/../../bundle/build.mjs" --single
    build product:single -f "$here/../../docker/single.Dockerfile" "$here/../../build/single"
    return
  fi
  local base=$1 target=()
  if [ "$1" = files ]; then base=24 target=(--target files); fi
  if [ "$1" = arm64 ]; then
    node "$here/../../bundle/build.mjs" --all --unproved
    run_arm64
    target=(--platform linux/arm64)
  fi
  bash "$here/images.sh" "node:$base"
  build "product:$1" -f "$here/../../docker/Dockerfile" --build-arg "BASE_IMAGE=einhorn-test/node:$base" "${target[@]}" "$here/../.."
}

# make_recipe LANGUAGE: with every image that the Dockerfile asks for replaced by one of ours.
make_recipe() {
  local language=${1%-musl} product=product:24 base=$1 context
  context=$here/../../examples/$language
  case "$1" in
    node) context+=-http base=node:24 ;;
    go) base=golang ;;
    go-musl) base=golang product=product:musl ;;
    single) context=$here/../../examples/python base=python product=product:single ;;
  esac
  bash "$here/images.sh" node:24 "$product" product:files "$base"
  # Each Dockerfile declares some of these; the engine warns about the others and goes on.
  build "recipe:$1" -f "$here/../../docker/recipes/$language.Dockerfile" "$context" --build-arg NODE_IMAGE=einhorn-test/node:24 \
    --build-arg "BASE_IMAGE=einhorn-test/$base" --build-arg GO_IMAGE=einhorn-test/golang \
    --build-arg "EINHORN_IMAGE=einhorn-test/$product" --build-arg EINHORN_FILES=einhorn-test/product:files \
    --build-arg EINHORN_SINGLE=einhorn-test/product:single
}

# make_example NAME
make_example() {
  bash "$here/images.sh" node:24 product:24 product:files debian golang gcc
  build "example:$1" "$here/../../examples/$1" --build-arg NODE_IMAGE=einhorn-test/node:24 --build-arg BASE_IMAGE=einhorn-test/debian \
    --build-arg GO_IMAGE=einhorn-test/golang --build-arg GCC_IMAGE=einhorn-test/gcc \
    --build-arg EINHORN_IMAGE=einhorn-test/product:24 --build-arg EINHORN_FILES=einhorn-test/product:files
}

make_copied() {
  bash "$here/images.sh" node:musl product:files musl
  build copied - <<'END'
FROM einhorn-test/node:musl AS node
FROM einhorn-test/product:files AS einhorn
FROM einhorn-test/musl
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/lib/libstdc++.so.6 /usr/lib/libgcc_s.so.1 /usr/lib/
COPY --from=einhorn / /
USER 1000:1000
ENTRYPOINT ["einhorn"]
END
}

make_kubernetes() {
  bash "$here/images.sh" product:24
  build kubernetes --build-arg EINHORN_IMAGE=einhorn-test/product:24 "$here/../../examples/kubernetes/image"
}

# build NAME ARGUMENT...: docker build, silent unless it fails.
build() {
  local log
  log=$(mktemp)
  docker build -q -t "einhorn-test/$1" "${@:2}" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
  rm -f "$log"
}

for name in "$@"; do
  # These hold files of this checkout, which may have changed; unchanged layers cost the engine half a second.
  case "$name" in
    product:*) make_product "${name#product:}"; continue ;;
    recipe:*) make_recipe "${name#recipe:}"; continue ;;
    example:*) make_example "${name#example:}"; continue ;;
    copied) make_copied; continue ;;
    kubernetes) make_kubernetes; continue ;;
  esac
  has "$name" && continue
  echo "images.sh: making einhorn-test/$name"
  work=$(mktemp -d)
  # It becomes the image's root directory, which every user must be able to enter.
  chmod 755 "$work"
  case "$name" in
    node:musl) make_musl "$work" node ;;
    node:arm64) make_arm64 "$work" 22 ;;
    node:*) make_node "$work" "${name#node:}" ;;
    musl) make_musl "$work" bare ;;
    debian) make_debian "$work" ;;
    python) make_language python python3 ;;
    ruby) make_language ruby ruby ;;
    golang) make_language golang golang-go ;;
    gcc) make_language gcc 'gcc libc6-dev' ;;
    *) echo "images.sh: no base image called $name" >&2; exit 2 ;;
  esac
  rm -rf "$work"
done
