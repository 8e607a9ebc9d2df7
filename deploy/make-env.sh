#!/bin/sh
# Writes the settings file of the compose stack, with a random password for each part and the first API keys: deploy/make-env.sh [FILE]
# FILE is .env beside docker-compose.yml by default. An existing file is left as it is.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
file=${1:-$root/.env}
if [ -e "$file" ]; then
    echo "$file exists already; remove it first if new passwords are wanted (and the volumes that hold the old ones)." >&2
    exit 1
fi
umask 077
random() { od -An -N"${1:-24}" -tx1 /dev/urandom | tr -d ' \n'; }
while IFS= read -r line; do
    case $line in
        *_PASSWORD=) printf '%s%s\n' "$line" "$(random)" ;;
        *_KEY=) printf '%spst_%s_%s\n' "$line" "$(random 6)" "$(random 32)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done <"$root/.env.example" >"$file.new"
mv "$file.new" "$file"
echo "Wrote $file."
