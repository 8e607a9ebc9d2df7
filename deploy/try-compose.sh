#!/usr/bin/env bash
# Brings the compose stack up for real, posts a job through it, prints its answer, and takes everything down again.
#
#   deploy/try-compose.sh [--work DIR]
#
# With a running Docker daemon it uses that one and the public images. Without one (as root, on Debian) it starts a
# private daemon and makes stand-ins for the public images from Debian packages; Grafana has none and is left out.
# --work keeps the private daemon's images in DIR, so that the next run is quick; else nothing is kept.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
project=penstock-try
work=
keep_work=
daemon_pid=

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'try-compose: %s\n' "$*" >&2; exit 1; }
quietly() { "$@" >"$work/quiet.log" 2>&1 || { tail -40 "$work/quiet.log" >&2; fail "failed: $*"; }; }

while [ $# -gt 0 ]; do
    case $1 in
        --work) [ $# -ge 2 ] || fail "--work needs a folder"; work=$2 keep_work=yes; shift 2 ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) fail "unknown argument $1; see --help" ;;
    esac
done
if [ -z "$work" ]; then work=$(mktemp -d); else mkdir -p "$work"; work=$(cd "$work" && pwd); fi

compose() { docker compose --project-name "$project" --project-directory "$root" --env-file "$work/env" -f "$root/docker-compose.yml" "$@"; }
image_of() { awk -v service="  $1:" '$0 == service { on = 1 } on && $1 == "image:" { print $2; exit }' "$root/docker-compose.yml"; }

show_logs() {
    compose logs --no-color --tail 40
}

clean_up() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "${is_up:-}" ]; then
        [ $status -eq 0 ] || show_logs >&2 || true
        say "taking the stack down"
        compose down -v --remove-orphans --timeout 20 >"$work/down.log" 2>&1 || { tail "$work/down.log" >&2; status=1; }
        docker ps -aq --filter "label=com.docker.compose.project=$project" | grep -q . && { say "containers are left"; status=1; }
        docker volume ls -q --filter "label=com.docker.compose.project=$project" | grep -q . && { say "volumes are left"; status=1; }
    fi
    if [ -n "$daemon_pid" ]; then
        say "stopping the private daemon"
        kill "$daemon_pid" 2>/dev/null || true
        wait "$daemon_pid" 2>/dev/null || true
    elif [ -n "${APP_IMAGE:-}" ]; then
        docker image rm "$APP_IMAGE" >/dev/null 2>&1 || true
    fi
    [ -n "$keep_work" ] || rm -rf "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- a Docker daemon, and Compose v2 ---------------------------------------------------------------------------------
is_private=
if ! docker info >/dev/null 2>&1; then
    is_private=yes
    [ "$(id -u)" = 0 ] || fail "no Docker daemon answers, and only root can start a private one"
    command -v apt-get >/dev/null || fail "no Docker daemon answers; the stand-ins need Debian"
    # shellcheck source=deploy/try/stand-ins.sh
    . "$here/try/stand-ins.sh"
    export DOCKER_CONFIG="$work/docker" DOCKER_BUILDKIT=1
    install_missing
    PATH=$(dirname "$(command -v dockerd)")/../bin:$PATH # the client that belongs to the daemon
    start_daemon
    docker compose version >/dev/null 2>&1 || fetch_compose
    stand_ins
fi
say "$(docker version --format 'Docker {{.Server.Version}}'), Compose $(docker compose version --short)"

# --- our image, fresh secrets, the stack -----------------------------------------------------------------------------
export APP_IMAGE=penstock:try
say "building the image"
quietly docker build ${is_private:+--network=host} -t "$APP_IMAGE" -f "$here/Dockerfile" "$root"
quietly docker run --rm --network=none "$APP_IMAGE" python -c 'import obstore, opentelemetry.sdk.trace, weasyprint'
say "image: $(docker image inspect --format '{{.Size}}' "$APP_IMAGE" | awk '{ printf "%.0f MB", $1 / 1e6 }')"

rm -f "$work/env"
"$here/make-env.sh" "$work/env" >/dev/null
PENSTOCK_API_KEY=$(sed -n 's/^ADMIN_KEY=//p' "$work/env")
export PENSTOCK_API_KEY
# any free port
printf 'HTTP_PORT=0\nPROMETHEUS_PORT=0\nGRAFANA_PORT=0\n' >>"$work/env"
mapfile -t services < <(compose config --services | if [ -n "$is_private" ]; then grep -vx grafana; else cat; fi)
say "starting: ${services[*]}"
is_up=yes
started=$SECONDS
quietly compose up -d --no-build "${services[@]}"

unhealthy() { # one line for each container that is neither healthy nor, for the one-shot, done
    compose ps -a --format '{{.Service}}|{{.State}}|{{.Health}}|{{.ExitCode}}' |
        awk -F'|' '!($1 == "migrate" && $2 == "exited" && $4 == 0) && !($2 == "running" && $3 == "healthy")'
}
await_health() {
    local ill
    for _ in $(seq 120); do
        ill=$(unhealthy)
        [ -z "$ill" ] && return
        sleep 0.5
    done
    fail "not healthy: $(tr '\n' ';' <<<"$ill")"
}
await_health
say "all healthy after $((SECONDS - started)) s"

# --- a job through the stack -----------------------------------------------------------------------------------------
base="http://$(compose port front 8080)"
prometheus="http://$(compose port prometheus 9090)"
service=$(python3 "$here/try/post_job.py" "$base" serve)
python3 "$here/try/check_files.py" "$base" "$service"

# --- the node is replaced, as in an upgrade; jobs wait for the new one -------------------------------------------------
quietly compose stop node
say "the node is stopped"
read -ra tasks < <(python3 "$here/try/post_job.py" "$base" submit "$service" 100)
python3 "$here/try/check_watchers.py" waiting "$prometheus" 100
quietly compose up -d --no-build --no-deps --force-recreate node
say "there is a new node"
python3 "$here/try/post_job.py" "$base" collect "${tasks[@]}"
await_health

# --- what watched it ---------------------------------------------------------------------------------------------------
python3 "$here/try/check_watchers.py" all "$prometheus" "$base/flower"

refused=$(compose exec -T valkey valkey-cli --user monitor info stats | tr -d '\r' | grep '^acl_access_denied.*:[1-9]' || true)
[ -z "$refused" ] || fail "Valkey refused one of our own parts: $refused"
say "Valkey refused nobody anything"

compose ps -a --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'
say "it works"
