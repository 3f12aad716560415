"""In shadow a system sees and counts, and alerts nobody: not by its stream, and not by mail or webhook."""

import json
from pathlib import Path

from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, file_cameras, running


async def test_in_shadow_nobody_is_alerted_until_the_site_is_armed(people: People, tmp_path: Path) -> None:
    cameras = file_cameras([people.clip("again.mkv")], loop=True)
    async with running(tmp_path, SITE.replace("armed", "shadow") + cameras) as system:
        assert "shadow: nobody is alerted; see: aegis alerts list --shadow" in system.output
        await system.enrol("person a", people.photo("help.mkv"))

        async def counted() -> bool:
            return bool(await system.command("alerts", "list", "--shadow"))

        await until(counted, "what would have been an alert is told in shadow")
        event = json.loads((await system.command("alerts", "list", "--shadow", "--json")).splitlines()[0])
        assert event["type"] == "aegis.shadow.raised.v1"
        assert (event["data"]["person"], event["data"]["camera"]) == ("person a", "again")
        assert "would have alerted" in await system.command("alerts", "list", "--shadow")
        assert await system.alerts() == []
        status = await system.json("status")
        assert status["site"]["would_have_alerted"] == {"barred": 1}
        assert (status["counts"]["alerts"], status["counts"]["alerts in shadow"]) == (0, 1)
        words = await system.command("status")
        assert "Test site is in shadow since 20" in words
        assert ": it would have alerted 1 time, and alerted nobody" in words

        assert "armed" in await system.command("arm")

        async def alerted() -> bool:
            return bool(await system.raised())

        await until(alerted, "the person who stands there is alerted once the site is armed")
        assert await system.raised() == [("person a", "again")]
        assert "in shadow: faces are processed and nobody is alerted" in await system.command("shadow")
        assert (await system.json("status"))["site"]["would_have_alerted"] == {}
