#!/bin/sh
# Starts nginx on the socket that einhorn holds. nginx takes listening sockets from the variable NGINX ("3;4;"), its own way
# of handing them to a new binary, and keeps those whose address appears in a `listen` line.
set -eu
here=$(dirname "$0")
run=$(mktemp -d "${TMPDIR:-/tmp}/nginx-$EINHORN_CHILD_INDEX-XXXXXX")
address=${SERVER_STARTER_PORT%%=*} # "127.0.0.1:8080=3": the address that goes with the descriptor
sed -e "s|@ADDRESS@|$address|; s|@RUN@|$run|; s|@GENERATION@|$EINHORN_GENERATION|; s|@SLOT@|$EINHORN_CHILD_INDEX|" \
  "$here/nginx.conf.template" > "$run/nginx.conf"
export NGINX="$EINHORN_FD_0;"
exec nginx -p "$run" -c "$run/nginx.conf" -e stderr
