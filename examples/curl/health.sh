#!/bin/sh
# Ask a service of a running system whether it is ready, and for its figures.
#
#   sh health.sh PORT            the port stands in: aegis status --json
set -eu
: "${1:?sh health.sh PORT}"
curl --silent --show-error --fail "http://127.0.0.1:$1/readyz"
curl --silent --show-error --fail "http://127.0.0.1:$1/metrics" | grep '^aegis_'
