"""Logs: one JSON object a line, on standard error or into a small rotating file. Never a face, never a secret."""

import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path

from aegis.runtime import tracing

FILE_BYTES = 5_000_000
FILES = 3
RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One record as one JSON object; what is passed as ``extra`` becomes fields."""

    def __init__(self, service: str, replica: str) -> None:
        super().__init__()
        self._who = {"service": service, "replica": replica}

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **self._who,
            "logger": record.name,
            "message": record.getMessage(),
            **tracing.ids(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in RESERVED}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(service: str, replica: str, level: str, file: Path | None) -> None:
    """Send the log of this process where it belongs."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES)
    handler.setFormatter(JsonFormatter(service, replica))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(lambda record: "eof_received" not in record.getMessage())
    for chatty in ("aioice", "aiortc", "libav", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
