"""Doctor on a whole system that works, and then does not in several ways."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, running

from aegis.contracts import subjects
from aegis.runtime import topology
from aegis.runtime.bus import Bus

NOTIFY = {
    "email": {"smtp": "smtp+insecure://127.0.0.1:9", "from": "aegis@north.example"},
    "people": {"gate": {"email": "gate@north.example"}},
    "rules": [{"name": "all", "steps": [{"tell": ["gate"], "wait": 600}]}],
}


async def told(system: System) -> dict[str, dict[str, Any]]:
    """Give what doctor says, by check."""
    findings = json.loads(await system.command("doctor", "--json", code=None))
    return {finding["check"]: finding for finding in findings}


def problems(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {check: finding["text"] for check, finding in findings.items() if finding["level"] == "problem"}


async def test_what_is_broken_is_named_and_nothing_else(people: People, tmp_path: Path) -> None:
    clips = file_cameras([people.clip("bird.mkv")], loop=True)
    text = SITE + clips + yaml.safe_dump({"notify": NOTIFY})
    async with running(tmp_path, text) as system:
        good = await told(system)
        assert problems(good) == {}
        working = ("bus", "bus certificate", "strangers", "streams", "clock here", "dead letters", "services", "site")
        assert {good[check]["level"] for check in (*working, "versions", "clocks", "cameras", "speed")} == {"ok"}
        assert good["reviewers"]["level"] == "warning"
        assert good["cohort"]["remedy"] == "run: aegis cohort build PHOTOS"
        await system.command("user", "add", "Ann Lee", "--out", tmp_path / "ann.nk")
        await system.command("camera", "add", "lost", f"file:{tmp_path / 'none.mkv'}")
        config = system.state.bus_config(system.state.bus_directory / "keys" / "admin.nk", "admin")
        async with Bus.connect(config, "test") as bus:
            changed = replace(topology.declared("DELIVERIES"), max_age=60.0)
            await bus.client.jetstream().update_stream(changed)
            await bus.store(subjects.face_embedded("0", "bird"), b"torn")

            async def refused() -> bool:
                return (await bus.client.jetstream().stream_info("DEAD")).state.messages > 0

            await until(refused, "a dead letter")
        await system.enrol("Milk Man", people.photo("milk.mkv"))

        async def failed() -> bool:
            return "not told yet: " in await system.command("status")

        await until(failed, "a mail that cannot be sent")
        pid = await system.pid("match")
        os.kill(pid, signal.SIGSTOP)
        try:
            bad = await told(system)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert set(problems(bad)) == {"match", "stream DELIVERIES", "camera lost", "gate by g…@north.example"}, bad
        assert problems(bad)["match"] == "does not answer"
        assert problems(bad)["camera lost"].startswith("offline: not found")
        assert bad["dead letters"]["level"] == "warning"
        assert "1 of match in the last day" in bad["dead letters"]["text"]
        assert bad["reviewers"]["level"] == "ok"
