"""An RTSP camera for the tests: ``/usr/bin/python3 rtsp_server.py PORT [USER PASSWORD]`` shows a moving ball at /live,
and with ``RTSP_SERVER_FILE`` in its environment what is in that file.

It runs with the system's Python, which has GStreamer's bindings; it prints ``ready`` when it listens.
"""

import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - only after their versions are chosen

PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=1600,height=900,framerate=15/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=1500 ! rtph264pay name=pay0 pt=96 )"
)
FILE_PIPELINE = (
    "( filesrc location={file} ! decodebin ! videoconvert "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=4000 ! rtph264pay name=pay0 pt=96 )"
)


def main(port: str, *login: str) -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory()
    file = os.environ.get("RTSP_SERVER_FILE")
    factory.set_launch(FILE_PIPELINE.format(file=file) if file else PIPELINE)
    factory.set_shared(True)
    if login:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string("user,media.factory.access=true,media.factory.construct=true")[0]
        )
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {port} cannot be used")
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this line
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
