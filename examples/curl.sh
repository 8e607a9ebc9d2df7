#!/bin/sh
# A walk through the API with curl alone: every call, its answer, and the status that is expected of it.
#
#   ./penstock up                       in one terminal
#   sh examples/curl.sh [URL]    in another; URL is http://127.0.0.1:8080 by default
#
# With keys in use, PENSTOCK_API_KEY is shown at each call.
# Ends with 0 when every answer had its expected status; leaves nothing behind.
set -eu

url=${1:-http://127.0.0.1:8080}
base=$url/api/v1/inference
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
json='Content-Type: application/json'

say() { printf '\n# %s\n' "$*"; }

# call STATUS [curl arguments]: shows the call, makes it, shows the answer (kept in $body).
call() {
    expected=$1
    shift
    printf '$ curl'
    for word in "$@"; do
        case $word in *[\ \"\{\[\?\&]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    answer=$(curl -sS ${PENSTOCK_API_KEY:+-H "Authorization: Bearer $PENSTOCK_API_KEY"} -w '\n%{http_code}' "$@")
    status=${answer##*
}
    body=${answer%
*}
    printf '%s  %.900s\n' "$status" "$body"
    [ "$status" = "$expected" ] || {
        printf 'curl.sh: expected %s, got %s\n' "$expected" "$status" >&2
        exit 1
    }
}

# field NAME: the first text of that name in the last answer.
field() { printf '%s' "$body" | tr -d '\n' | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

# until_status STATUS URL: asks until the answer says so, 60 s at most.
until_status() {
    for _ in $(seq 300); do
        body=$(curl -sS ${PENSTOCK_API_KEY:+-H "Authorization: Bearer $PENSTOCK_API_KEY"} "$2")
        case $body in
        *"\"status\":\"$1\""* | *"\"status\": \"$1\""*) return 0 ;;
        *'"status":"error"'*) break ;;
        esac
        sleep 0.2
    done
    printf 'curl.sh: not %s: %s\n' "$1" "$body" >&2
    exit 1
}

# A handwritten one, 8 x 8 pixels of 0 to 16, as the test images have it.
one='[[0,0,0,15,12,1,0,0],[0,0,5,16,16,6,0,0],[0,0,2,16,16,3,0,0],[0,0,2,16,16,1,0,0],[0,0,6,16,13,0,0,0],[0,0,1,16,16,2,0,0],[0,0,3,16,15,3,0,0],[0,0,0,15,16,1,0,0]]'
five='[[0,0,2,15,15,16,11,0],[0,0,8,16,11,3,0,0],[0,0,13,9,0,0,0,0],[0,5,16,3,9,11,3,0],[0,10,15,15,16,16,11,0],[0,6,16,10,7,16,5,0],[0,0,3,4,15,8,0,0],[0,0,4,15,7,0,0,0]]'
hooks='{"preprocess":{"inputs":[{"name":"image","dtype":"uint8","shape":[null,8,8]}],"steps":[{"do":"scale","tensor":"image","by":0.0625},{"do":"flatten","tensor":"image"},{"do":"rename","tensor":"image","to":"input"}]}}'
version=1.0.$(date +%s)
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

say 'Is it ready?'
call 200 "$url/readyz"

say 'Send the model file, then register it. (Where its folder is in model_roots, or without keys, a path works as well.)'
call 201 --data-binary "@$here/digits/model.onnx" -H 'Content-Type: application/octet-stream' "$url/v1/uploads"
call 201 -H "$json" -d "{\"name\":\"digits-curl\",\"version\":\"$version\",\"framework\":\"onnx\",\"model_path\":\"upload:$(field upload_id)\",\"deployment_config\":$hooks}" "$url/v1/models/register"
model=$(field model_id)

say 'Create a service for it, and start it.'
call 201 -H "$json" -d "{\"model_id\":\"$model\",\"config\":{\"replicas\":1}}" "$base/services"
service=$(field service_id)
call 200 -X POST "$base/services/$service/start"
until_status running "$base/services/$service"

say 'Submit a job: 202 means that it is committed and will run.'
call 202 -H "$json" -d "{\"input_data\":{\"image\":[$one]},\"priority\":5}" "$base/services/$service/tasks"
task=$(field task_id)

say 'Ask for it, or wait for it (60 s at most).'
call 200 "$base/tasks/$task"
call 200 "$base/tasks/$task?wait=30"

say 'The same Idempotency-Key and body give the same job; another body is refused.'
call 202 -H "$json" -H "Idempotency-Key: order-$version" -d "{\"input_data\":{\"image\":[$one]}}" "$base/services/$service/tasks"
first=$body
call 202 -H "$json" -H "Idempotency-Key: order-$version" -d "{\"input_data\":{\"image\":[$one]}}" "$base/services/$service/tasks"
[ "$body" = "$first" ] || {
    printf 'curl.sh: the answer to a repeated key is not the first one\n' >&2
    exit 1
}
call 409 -H "$json" -H "Idempotency-Key: order-$version" -d "{\"input_data\":{\"image\":[$five]}}" "$base/services/$service/tasks"

say 'Many at once: a JSON list (all or nothing), or JSON Lines (streamed, any length).'
call 202 -H "$json" -d "{\"input_data_list\":[{\"image\":[$one]},{\"image\":[$five]}],\"priority\":9}" "$base/services/$service/tasks/batch"
for _ in $(seq 100); do printf '{"input_data":{"image":[%s]}}\n' "$five"; done >"$lines"
call 202 -H 'Content-Type: application/x-ndjson' -T "$lines" -X POST "$base/services/$service/tasks/batch?priority=1"

say 'List jobs, newest first, a page at a time.'
call 200 "$base/tasks?service_id=$service&status=completed&limit=2"
call 200 "$base/services?status=running&limit=5"

say 'Errors say what is wrong and what would be right.'
call 422 -H "$json" -d '{"input_data":{"image":[[1,2,3]]}}' "$base/services/$service/tasks"
call 422 -H "$json" -d "{\"input_data\":{\"image\":[$one]},\"priority\":10}" "$base/services/$service/tasks"
call 400 -H "$json" -d '{"input_data":' "$base/services/$service/tasks"
call 404 "$base/tasks/0"

say 'Scale to two replicas and back; look at the service with its measured batch curve.'
call 200 -H "$json" -d '{"replicas":2}' "$base/services/$service/scale"
call 200 -H "$json" -d '{"replicas":1}' "$base/services/$service/scale"
call 200 "$base/services/$service"

say 'Cancel a waiting job: here one of a service that queues while it is stopped.'
call 200 -X PATCH -H "$json" -d '{"config":{"queue_while_stopped":true}}' "$base/services/$service"
call 200 -X POST "$base/services/$service/stop"
until_status stopped "$base/services/$service"
call 202 -H "$json" -d "{\"input_data\":{\"image\":[$one]}}" "$base/services/$service/tasks"
task=$(field task_id)
call 200 -X POST "$base/tasks/$task/cancel"

say 'Its history, and the end of it.'
call 200 "$base/services/$service/history"
call 204 -X DELETE "$base/services/$service"
call 404 "$base/services/$service"
call 204 -X DELETE "$url/v1/models/$model"
printf '\nEvery answer was as expected.\n'
