#!/bin/sh
# Install the packages of npm that some tests need, as pinned in tests/peers/npm, into var/npm.
set -u
if ! command -v npm >/dev/null 2>&1; then
    echo "npm is not installed, so some tests will skip"
    exit 0
fi
mkdir -p var/npm
cmp -s tests/peers/npm/package-lock.json var/npm/package-lock.json && [ -f var/npm/installed ] && exit 0
echo "installing packages of npm for the tests"
rm -f var/npm/installed
cp tests/peers/npm/package.json tests/peers/npm/package-lock.json var/npm/
log=$(mktemp)
if (cd var/npm && npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1; then
    touch var/npm/installed
else
    tail -n 5 "$log"
    echo "could not be installed, so some tests will skip"
fi
rm -f "$log"
