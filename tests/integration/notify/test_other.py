"""What Apprise reaches, against a real HTTP receiver and a real mail server."""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.bus import until
from tests.integration.notify.conftest import sighting
from tests.peers.mail_server import MailServer

from aegis.contracts import alerts, cloudevents
from aegis.contracts.deliveries import DeliveryState, NewsKind
from aegis.contracts.reviews import Update
from aegis.contracts.telling import Contact
from aegis.notify import other_channel, words
from aegis.notify.channel import Handed, News
from aegis.notify.core import CannotTellError, NeverError, TryAgainError, UnsureError
from aegis.notify.other_channel import NO_RECEIPT, OtherChannel

CHANNEL = OtherChannel(dt.UTC)


def news(kind: NewsKind = NewsKind.ALERT, update: Update | None = None, **changes: Any) -> News:
    seen = sighting(**changes)
    event = alerts.event(alerts.RAISED, "e1", seen)
    return News(
        identity="e1-g",
        kind=kind,
        sighting=seen,
        event=event,
        body=cloudevents.dump(event),
        expires_at=seen.expires_at,
        update=update,
    )


def contact(url: str) -> Contact:
    return Contact(person="guard", name="Guard", channel="other", address=url)


class Receiver:
    """Answers posts with ``status``, or not until ``released``."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        self.released = asyncio.Event()
        self.released.set()
        self.port = 0

    async def post(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        await self.released.wait()
        return web.Response(status=self.status, text="the server's answer with hush-token in it")

    @property
    def contact(self) -> Contact:
        return contact(f"json://user:hush-password@127.0.0.1:{self.port}/hush-token")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    made.released.set()
    await runner.cleanup()


async def test_an_alert_arrives_with_its_mark_and_nothing_of_apprise(receiver: Receiver) -> None:
    told = news(person="<b>O'Brien</b> :smile: \\n", drill=True)

    assert await CHANNEL.tell(receiver.contact, told) == Handed(state=DeliveryState.SENT, detail=NO_RECEIPT)

    [body] = receiver.bodies
    said = words.of(told, zone=dt.UTC)
    assert body["title"] == said.subject
    assert body["message"].strip() == said.plain.strip()
    assert body["type"] == "warning"
    assert body["message"].startswith(words.DRILL)
    assert "<b>O'Brien</b> :smile: \\n" in body["message"]
    assert "apprise" not in json.dumps(body).lower()


@pytest.mark.parametrize(("kind", "mark"), [(NewsKind.TEST, "TEST"), (NewsKind.CORRECTION, "CORRECTION")])
async def test_tests_and_corrections_are_marked(receiver: Receiver, kind: NewsKind, mark: str) -> None:
    await CHANNEL.tell(receiver.contact, news(kind, drill=False))
    [body] = receiver.bodies
    assert mark in body["title"]
    assert body["type"] == "info"


async def test_a_refusal_is_tried_again(receiver: Receiver) -> None:
    receiver.status = 503
    with pytest.raises(TryAgainError, match="does not say why") as caught:
        await CHANNEL.tell(receiver.contact, news())
    assert not isinstance(caught.value, UnsureError)
    assert len(receiver.bodies) == 1
    with pytest.raises(CannotTellError):
        await CHANNEL.ask(receiver.contact, news())


async def test_no_answer_leaves_it_unsure(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_channel, "SECONDS", 0.3)
    receiver.released.clear()
    with pytest.raises(UnsureError, match="no answer within"):
        await CHANNEL.tell(receiver.contact, news())
    assert len(receiver.bodies) == 1


async def test_the_loop_goes_on_meanwhile(receiver: Receiver) -> None:
    receiver.released.clear()
    telling = [asyncio.create_task(CHANNEL.tell(receiver.contact, news(person=f"P{n}"))) for n in range(5)]
    await until(lambda: len(receiver.bodies) == len(telling), "all are being told at once")
    receiver.released.set()
    assert [handed.detail for handed in await asyncio.gather(*telling)] == [NO_RECEIPT] * 5


async def test_no_secret_of_an_address_is_logged(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.status = 404
    to = receiver.contact
    with pytest.raises(TryAgainError) as caught:
        await CHANNEL.tell(to, news())
    other_channel.check(to.address)
    told = caplog.text + str(caught.value) + CHANNEL.label(to) + CHANNEL.provider(to)
    assert "hush" not in told
    assert "127.0.0.1" not in told
    assert CHANNEL.label(to) == "json://…"


async def test_a_mail() -> None:
    server = MailServer()
    await server.start()
    try:
        url = f"mailto://127.0.0.1:{server.port}?from=aegis@north.example&to=guard@north.example&mode=insecure"
        await CHANNEL.tell(contact(url), news(drill=True))
    finally:
        await server.stop()
    [mail] = server.of("guard@north.example")
    assert mail["Subject"].startswith("[DRILL] Grace Hopper")
    content = mail.get_body(("plain",))
    assert content is not None
    assert words.DUTY in content.get_content()


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("nowhere://hush@example.org", "nowhere"),
        ("tgram://hush", "tgram"),
        ("hush", "no scheme"),
        ("hush.token@x://y", "no scheme"),
        ("json://", "json"),
    ],
)
async def test_an_address_that_apprise_does_not_know(url: str, scheme: str) -> None:
    with pytest.raises(ValueError, match=f"^{scheme}: ") as caught:
        other_channel.check(url)
    assert "hush" not in str(caught.value)
    with pytest.raises(NeverError):
        await CHANNEL.tell(contact(url), news())


def test_an_address_that_it_knows() -> None:
    other_channel.check("json://user:password@127.0.0.1:8080/path")
    other_channel.check("ntfys://ntfy.example/topic")
