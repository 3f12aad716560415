"""Receive Aegis's webhooks with nothing but Python: what is genuine and fresh is taken once, the rest is refused.

AEGIS_WEBHOOK_SECRET=... python receiver.py [PORT]
"""

import base64
import collections
import contextlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 300
"""Seconds that a post may be old: an older one was recorded and is played back."""
LARGEST = 1 << 20
REMEMBERED = 10_000
SEEN: "collections.OrderedDict[str, None]" = collections.OrderedDict()
"""Names of what was taken. Keep them as long as your own data, if a repeat after a restart would do harm."""


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether a webhook is genuine and fresh. ``body`` is what came, byte for byte."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    signed = f"{identity}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in given)


def work(event: dict) -> None:
    """Do what your system does with an event, within five seconds, or put it into a queue of your own."""
    data = event["data"]
    drill = "DRILL " if data.get("drill") else ""
    what = data.get("person") or data.get("state", "")
    print(f"{event['time']} {drill}{event['type']} {data['reference']} {what}".rstrip(), flush=True)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine and 401 to what is not."""

    timeout = 10

    def do_POST(self) -> None:
        """Take one event."""
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            return self._answer(413)
        body = self.rfile.read(int(length))
        if not verify(os.environ["AEGIS_WEBHOOK_SECRET"], self.headers, body):
            return self._answer(401)
        identity = self.headers["webhook-id"]
        if identity not in SEEN:
            work(json.loads(body))
            SEEN[identity] = None  # after the work: what failed comes again
            while len(SEEN) > REMEMBERED:
                SEEN.popitem(last=False)
        return self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent: a log of requests would be one of alerts."""


if __name__ == "__main__":
    if not os.environ.get("AEGIS_WEBHOOK_SECRET"):
        sys.exit("export AEGIS_WEBHOOK_SECRET first: the secret that the site signs with")
    server = ThreadingHTTPServer(("127.0.0.1", int((sys.argv[1:] or ["8090"])[0])), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
