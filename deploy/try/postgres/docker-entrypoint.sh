#!/bin/sh
# As the public image does: makes the cluster and the database at first, from POSTGRES_*, then runs the server.
set -e
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is not set}"
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    # shellcheck disable=SC2086
    initdb -D "$PGDATA" --username="${POSTGRES_USER:-postgres}" --pwfile=/tmp/password \
        --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
    [ "${POSTGRES_DB:-postgres}" = postgres ] || createdb -U "${POSTGRES_USER:-postgres}" "$POSTGRES_DB"
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
