#!/bin/sh
# Post a signed event to a webhook receiver, as Aegis does, to try the receiver.
#
#   AEGIS_WEBHOOK_SECRET=whsec_... sh post.sh URL EVENT.json            needs curl and openssl
set -eu
url=${1:?sh post.sh URL EVENT.json}
file=${2:?sh post.sh URL EVENT.json}
: "${AEGIS_WEBHOOK_SECRET:?export it first: the secret that signs}"
id=msg_$(openssl rand -hex 8)
now=$(date +%s)
case $AEGIS_WEBHOOK_SECRET in
whsec_*) key=$(printf %s "${AEGIS_WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n') ;;
*) key=$(printf %s "$AEGIS_WEBHOOK_SECRET" | od -An -v -tx1 | tr -d ' \n') ;;
esac
signature=$({ printf '%s.%s.' "$id" "$now" && cat "$file"; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
exec curl --silent --show-error --output /dev/null --write-out '%{http_code}\n' \
    --header 'content-type: application/cloudevents+json' \
    --header "webhook-id: $id" --header "webhook-timestamp: $now" --header "webhook-signature: v1,$signature" \
    --data-binary "@$file" "$url"
