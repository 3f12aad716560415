"""Notify as a process of its own, on a real bus, with real mail servers and webhook receivers around it."""

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from tests.bus import Server, until

from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryRecord
from aegis.contracts.messages import DeadLetter, EntryRecord, Severity, Template
from aegis.contracts.telling import Contact
from aegis.runtime import sealing, topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusUnavailableError

ENTRY = "e1a2b3"


def draw(seed: int, rows: int, columns: int, suffix: str) -> bytes:
    """Draw a pattern that is nobody's face."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (columns, rows), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(suffix, image)[1].tobytes()


class World:
    """A bus with the system's streams, and notify when it was started."""

    def __init__(self, directory: Path, server: Server, admin: Bus, match: Bus) -> None:
        self.directory = directory
        self.server = server
        self.admin = admin
        self.match = match
        self.key = directory / "site.key"
        self.sealer = sealing.load_or_create(self.key)
        self.log = directory / "notify.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def configure(self, notify: dict[str, Any], **environment: str) -> None:
        document = {"site": {"id": "north", "name": "North School", "kind": "demo"}, "notify": notify}
        (self.directory / "site.yaml").write_text(yaml.safe_dump(document))
        self._environment = environment

    def mail_to(self, smtp: str, *to: str, pictures: bool = False, ca: Path | None = None) -> dict[str, Any]:
        extra = {"ca": str(ca)} if ca else {}
        return {"smtp": smtp, "to": list(to), "from": "aegis@north.example", "pictures": pictures, **extra}

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AEGIS_BUS_URL": self.server.files.url,
            "AEGIS_BUS_CA": str(self.server.files.ca),
            "AEGIS_KEY_FILE": str(self.server.files.key("notify")),
            "AEGIS_SITE_KEY_FILE": str(self.key),
            "AEGIS_SITE_FILE": str(self.directory / "site.yaml"),
            **self._environment,
        }

    async def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "aegis.notify"]
            self._process = subprocess.Popen(command, env=self.environment(), stderr=log)
        await until(self._ready, "notify is ready")

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        return bool((await self.status()).get("ready"))

    async def status(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(await self.admin.request(subjects.STATUS, b"", patience=0.3))
        except BusUnavailableError:
            return {}
        return answer

    async def idle(self) -> bool:
        return (await self.status()).get("busy") == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def returncode(self) -> int:
        assert self._process is not None
        return self._process.wait(10)

    async def terminate(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await asyncio.to_thread(self.returncode)

    async def publish(self, *, lasts: float = 600.0, **changes: Any) -> CloudEvent:
        """Have match raise an alert that expires after ``lasts`` seconds."""
        seen = sighting(lasts, **changes)
        event = alerts.event(alerts.RAISED, secrets.token_hex(12), seen)
        await self.publish_raw(cloudevents.dump(event), event.id, seen.entry)
        return event

    async def publish_raw(self, body: bytes, identity: str, entry: str = ENTRY) -> None:
        await self.match.store(subjects.alert("north", "barred", entry), body, message_id=identity)

    async def enrol(self) -> None:
        photo = self.sealer.seal("photos", "p1", draw(1, 900, 600, ".jpg"))
        await Bucket(self.admin, "photos").put("p1", photo)
        entry = EntryRecord(
            id=ENTRY,
            name="Grace Hopper",
            category="barred",
            embedder="sface-2021dec",
            added_at=time.time(),
            templates=(Template(vector=b"", photo="p1"),),
        )
        await Bucket(self.admin, "watchlist").put(ENTRY, self.sealer.seal("watchlist", ENTRY, codec.encode(entry)))

    async def store_probe(self, key: str) -> None:
        await Bucket(self.match, "evidence").put(key, self.sealer.seal("evidence", key, draw(2, 112, 112, ".png")))

    async def delivery(self, event: CloudEvent, channel: str, address: str) -> DeliveryRecord | None:
        """Give the newest record of telling an address of an event."""
        token = Contact(person="", name="", channel=channel, address=address).token
        subject = subjects.delivery(channel, event.data["alert"], event.id, token)
        message = await self.admin.last(subjects.DELIVERIES, subject)
        return codec.decode(DeliveryRecord, message.data or b"") if message else None

    async def delivered(self, event: CloudEvent, channel: str, address: str) -> DeliveryRecord:
        """Wait until it is known what became of telling one address."""
        found: list[DeliveryRecord] = []

        async def known() -> bool:
            record = await self.delivery(event, channel, address)
            found.extend([record] if record and record.state.final else [])
            return bool(found)

        await until(known, f"a final record of telling {address}", 30.0)
        return found[0]

    async def dead_letters(self) -> list[DeadLetter]:
        letters = []
        info = await self.admin.client.jetstream().stream_info(subjects.DEAD)
        for sequence in range(info.state.first_seq, info.state.last_seq + 1):
            message = await self.admin.client.jetstream().get_msg(subjects.DEAD, sequence)
            letters.append(codec.decode(DeadLetter, message.data or b""))
        return letters


def sighting(lasts: float = 600.0, **changes: Any) -> Sighting:
    now = time.time()
    values: dict[str, Any] = {
        "alert": f"k7q2mx-{secrets.token_hex(6)}", "reference": "K7Q-2MX", "site": "north",
        "site_name": "North School", "category": "barred", "severity": Severity.HIGH, "entry": ENTRY,
        "person": "Grace Hopper", "camera": "lobby", "camera_name": "Main lobby", "captured_at": now,
        "first_captured_at": now, "score": 0.71, "threshold": 0.5, "looks": 4, "track": "lobby.1.1",
        "detector": "yunet-2023mar", "embedder": "sface-2021dec", "watchlist_version": 3, "raised_at": now,
        "expires_at": now + lasts, "drill": True, "chip": "", "frame": "",
    }  # fmt: skip
    return Sighting(**(values | changes))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = Server(tmp_path)
    server.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.kill)
        admin = await stack.enter_async_context(server.connect("admin"))
        await topology.declare(admin)
        match = await stack.enter_async_context(server.connect("match"))
        made = World(tmp_path, server, admin, match)
        stack.callback(made.kill)
        yield made
