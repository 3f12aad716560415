#!/bin/sh
# Print what a site tells over MQTT, one JSON object a line, for as long as it runs; needs mosquitto-clients.
#
#   sh listen.sh STATE HOST:PORT [TOPIC]        STATE is the state directory of aegis up, HOST:PORT its mqtt: listen:
set -eu
state=$1
host=${2%:*}
port=${2##*:}
topic=${3:-aegis/v1/alert/#}
# The password is read from a file and not shown to others in the list of processes.
options=$(mktemp -d)
client=
trap 'rm -rf "$options"; [ -z "$client" ] || kill "$client" 2>/dev/null || :' EXIT
trap 'exit 0' INT TERM
umask 077
printf -- '--username integrator\n--pw %s\n' "$(cat "$state/bus/keys/mqtt.password")" >"$options/mosquitto_sub"
# A client ends when the bus is started anew.
while :; do
    XDG_CONFIG_HOME=$options mosquitto_sub --host "$host" --port "$port" --cafile "$state/bus/mqtt/ca.pem" \
        --topic "$topic" -F '{"topic": "%t", "event": %p}' &
    client=$!
    wait "$client" || sleep 1
done
