#!/bin/sh
# Packs what a machine with PyTorch, and without network, needs for `bench gpu`: packages for its Python, in parts that
# can be carried one by one. CUDA's libraries stay out: PyTorch has them.
#   benchmarks/gpu/carry.sh FOLDER [PYTHON_VERSION [PLATFORM]]      there: see benchmarks/README.md
set -eu
folder=$1
version=${2:-3.12}
platform=${3:-x86_64-manylinux_2_28}
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
uv=$(command -v uv || echo "$root/.venv/bin/uv")

mkdir -p "$folder"
grep -E -v '^nvidia-(cu|nv)' "$root/requirements/gpu.txt" >"$folder/list"
"$uv" pip install -q --no-deps --only-binary :all: --python-version "$version" --python-platform "$platform" \
    --target "$folder/site" -r "$folder/list"
mkdir "$folder/source"
git -C "$root" archive HEAD | tar -x -C "$folder/source" # setuptools leaves its traces where it builds
"$uv" pip install -q --no-deps --python-version "$version" --target "$folder/site" "$folder/source"
tar -C "$folder" -czf - site | split -b 48M - "$folder/penstock-gpu.tgz."
rm -rf "$folder/site" "$folder/source" "$folder/list"
ls -l "$folder"
