#!/bin/sh
# Print what a site tells over MQTT, one JSON object a line, for as long as it runs; needs mosquitto-clients.
#
#   sh listen.sh STATE HOST:PORT [TOPIC]        STATE is the state directory of aegis up, HOST:PORT its mqtt: listen:
#
# An event stands in "event"; a message of CAP, which is XML, stands as a text in "payload".
set -eu
usage='sh listen.sh STATE HOST:PORT [TOPIC]'
state=${1:?$usage}
listen=${2:?$usage}
topic=${3:-aegis/v1/alert/#}
fail() {
    echo "$1" >&2
    exit 1
}
command -v mosquitto_sub >/dev/null || fail 'mosquitto_sub is missing: install mosquitto-clients'
for file in "$state/bus/keys/mqtt.password" "$state/bus/mqtt/ca.pem"; do
    [ -r "$file" ] || fail "cannot read $file: does Aegis run with this state directory and with mqtt:, as you?"
done
case $topic in
aegis/v1/cap/*) form=%j ;;
*) form='{"topic": "%t", "event": %p}' ;;
esac
# The password is read from a file and not shown to others in the list of processes.
options=$(mktemp -d)
clean() {
    trap '' INT TERM # a second signal must not end this half-way
    rm -rf "$options"
    kill "${!:-}" 2>/dev/null || : # the client that was started last, if one was
}
trap clean EXIT
trap 'trap "" INT TERM; exit 0' INT TERM
umask 077
printf -- '--username integrator\n--pw %s\n' "$(cat "$state/bus/keys/mqtt.password")" >"$options/mosquitto_sub"
# A client ends when the bus is started anew.
while :; do
    XDG_CONFIG_HOME=$options mosquitto_sub --host "${listen%:*}" --port "${listen##*:}" \
        --cafile "$state/bus/mqtt/ca.pem" --topic "$topic" -F "$form" &
    wait "$!" || sleep 1
done
