"""The shipped cards, a small card of a site's own, and a web server that misbehaves on request."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aegis.runtime.models import ModelCard, Source, load_cards


@pytest.fixture(scope="session")
def cards() -> dict[str, ModelCard]:
    return load_cards()


CONTENT = bytes(range(256)) * 4096
"""A megabyte that stands for a model where only its bytes matter."""


def card_of(content: bytes, *sources: Source) -> ModelCard:
    return ModelCard(
        id="own",
        task="detect",
        file="own.onnx",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="MIT",
        notice="Ours.",
        sources=sources,
    )


@dataclass
class Site:
    """A web server on a port of its own; each path answers a status, the length it announces, and a body."""

    address: str
    answers: dict[str, tuple[int, int | None, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            status, announced, body = served.answers[self.path]
            self.send_response(status)
            if announced is not None:
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
