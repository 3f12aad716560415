#!/bin/sh
# Install the test peers that come from Debian, where this may be done: a GStreamer RTSP server, Chromium, Kannel, MQTT
# clients, iproute2, promtool and Node.js.
set -u
missing=""
/usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer' 2>/dev/null ||
    missing="gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good
        gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
{ [ -x /usr/sbin/bearerbox ] && [ -x /usr/lib/kannel/test/fakesmsc ]; } || missing="$missing kannel kannel-extras"
command -v mosquitto_sub >/dev/null 2>&1 || missing="$missing mosquitto-clients"
command -v turnserver >/dev/null 2>&1 || missing="$missing coturn"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v ip >/dev/null 2>&1 || missing="$missing iproute2"
command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed, so some tests will skip:" $missing
    exit 0
fi
echo "installing test peers:" $missing
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086 # a list of packages
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1 || {
    tail -n 5 "$log"
    echo "could not be installed, so some tests will skip"
}
rm -f "$log"
