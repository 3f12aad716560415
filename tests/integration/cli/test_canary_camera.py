"""The canary's camera says why nothing is sent, and tries again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from aiohttp import web
from tests.bus import until

from aegis.cli.canary_camera import Address, Camera
from aegis.cli.canary_picture import PersonInRoom
from aegis.runtime import tasks
from aegis.runtime.bus_server import free_port

Make = Callable[[str], Camera]


@pytest.fixture
async def make(models_dir: Path) -> AsyncIterator[Make]:
    """Give what makes a camera that sends to an address."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    portrait = Path(spec.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    scene = await asyncio.to_thread(PersonInRoom.open, portrait, models_dir)
    running: list[asyncio.Task[None]] = []

    def camera(url: str) -> Camera:
        made = Camera(Address(url=url, camera="canary", token="wrong", tls=None), scene)
        running.append(asyncio.create_task(made.run()))
        return made

    yield camera
    await tasks.end(running)


async def test_a_refusal_is_told_and_it_tries_again(make: Make) -> None:
    asked: list[tuple[str, str | None]] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers.get("Authorization")))
        return web.Response(status=401, text="the token is wrong, or there is no such camera\n")

    app = web.Application()
    app.add_routes([web.post("/whip/{camera}", refuse)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    camera = make(f"http://127.0.0.1:{port}")
    await until(lambda: len(asked) > 1, "it was offered again", 10.0)
    assert set(asked) == {("/whip/canary", "Bearer wrong")}
    assert camera.problem == "ingest refuses the video: the token is wrong, or there is no such camera (401)"
    assert not camera.sending.is_set()
    await runner.cleanup()


async def test_where_nobody_listens_is_told(make: Make) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    camera = make(url)
    await until(lambda: "cannot be reached" in camera.problem, "it was tried", 10.0)
    assert camera.problem.startswith(f"{url} cannot be reached: ")
