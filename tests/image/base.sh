#!/bin/sh
# Make the base that the image is tried on where no registry can be reached: Debian's packages, as a local image.
set -eu
export DEBIAN_FRONTEND=noninteractive
base=${1:?the name of the image to make}
suite=${base##*:}
command -v buildah >/dev/null && command -v debootstrap >/dev/null || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends buildah debootstrap crun fuse-overlayfs uidmap netavark
}
buildah inspect --type image "$base" >/dev/null 2>&1 && exit 0
echo "== making $base"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$folder" >"$folder.log" 2>&1 || {
    tail -n 5 "$folder.log"
    exit 1
}
rm -rf "$folder.log" "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/*
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder" / >/dev/null
buildah commit --quiet --rm "$container" "$base" >/dev/null
