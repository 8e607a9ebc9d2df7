#!/bin/sh
# As the public image does: the server runs as the user valkey and owns its folder.
set -e
if [ "$1" = valkey-server ] && [ "$(id -u)" = 0 ]; then
    chown -R valkey:valkey .
    exec setpriv --reuid=valkey --regid=valkey --clear-groups "$@"
fi
exec "$@"
