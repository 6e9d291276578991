#!/bin/sh
# Starts php-fpm on the socket that einhorn holds. php-fpm takes listening sockets from FPM_SOCKETS ("address=fd"), its own way of
# handing them to a new image, and keeps those whose address is that of a pool's `listen`. SERVER_STARTER_PORT has the same form.
set -eu
export FPM_SOCKETS="$SERVER_STARTER_PORT" FPM_LISTEN="${SERVER_STARTER_PORT%%=*}"
exec "${PHP_FPM:-php-fpm8.2}" --nodaemonize --force-stderr --allow-to-run-as-root --fpm-config "$(dirname "$0")/php-fpm.conf"
