"""SMS through Twilio: what its answers mean, what is asked after a doubt, and its signed reports."""

import asyncio
import contextlib
import datetime as dt
import email.utils
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.integration.notify.conftest import sighting
from tests.peers.kannel import free_ports
from tests.peers.mail_server import make_certificate
from tests.peers.twilio_stub import Play, TwilioStub

from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryState, NewsKind
from aegis.contracts.reviews import AlertState, Update
from aegis.contracts.telling import Contact
from aegis.notify import sms_http, sms_words
from aegis.notify.channel import Handed, News, Receipt
from aegis.notify.core import CannotTellError, NeverError, TryAgainError, UnsureError
from aegis.notify.receipts import ReceiptServer
from aegis.notify.twilio_channel import PAGE, TwilioChannel, TwilioReceipts
from aegis.notify.webhook_channel import open_session
from aegis.runtime.site_notify import TwilioConfig

NUMBER, SENDER = "+15551234501", "+15550001111"
CONTACT = Contact(person="ada", name="Ada", channel="sms", address=NUMBER)


def news(**changes: Any) -> News:
    event = CloudEvent(id="0f3c", source="/s", type="t", time="2026-11-12T13:03:22Z", subject="barred/e1", data={})
    seen = sighting(**changes)
    return News(
        identity="0f3c-a1b2",
        kind=NewsKind.ALERT,
        sighting=seen,
        event=event,
        body=b"{}",
        expires_at=seen.expires_at,
    )


def text(told: News) -> str:
    return sms_words.text(told, names=False, zone=dt.UTC)


@dataclass
class Line:
    """A channel to the stub, with a receipts server for its reports."""

    stub: TwilioStub
    channel: TwilioChannel
    receipts: list[Receipt] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    stub = TwilioStub()
    async with contextlib.AsyncExitStack() as stack:
        await stub.start()
        stack.push_async_callback(stub.stop)
        session = await stack.enter_async_context(open_session())
        receipts: list[Receipt] = []
        refused: list[str] = []

        async def take(receipt: Receipt) -> None:
            receipts.append(receipt)

        config = TwilioConfig(account=stub.account, token=stub.token, sender=SENDER, url=stub.url)
        (port,) = free_ports(1)
        checked = TwilioReceipts(config, f"http://127.0.0.1:{port}")
        server = ReceiptServer(
            host="127.0.0.1",
            port=port,
            take=take,
            validators=(checked,),
            count=lambda _, outcome: refused.append(outcome) if outcome != "taken" else None,
        )
        await stack.enter_async_context(server.serve())
        channel = TwilioChannel(config, session, checked.url, dt.UTC)
        yield Line(stub, channel, receipts, refused)


async def test_a_message_is_taken_and_then_reported_delivered(line: Line) -> None:
    told = news()
    handed = await line.channel.tell(CONTACT, told)
    (message,) = line.stub.messages
    assert handed == Handed(state=DeliveryState.SENT, provider_id=message["sid"])
    assert (message["to"], message["from"], message["body"]) == (NUMBER, SENDER, text(told))
    for status in ("sent", "delivered"):
        assert await line.stub.report(message["sid"], status) == 200
    common = {"identity": told.identity, "provider_id": message["sid"]}
    assert line.receipts == [
        Receipt(state=DeliveryState.SENT, **common),
        Receipt(state=DeliveryState.DELIVERED, **common),
    ]


async def test_a_forged_report_is_refused_and_a_failure_says_why(line: Line) -> None:
    handed = await line.channel.tell(CONTACT, news())
    assert await line.stub.report(handed.provider_id, "delivered", forged=True) == 403
    assert (line.receipts, line.refused) == ([], ["forged"])
    assert await line.stub.report(handed.provider_id, "undelivered", 30003) == 200
    assert (line.receipts[0].state, line.receipts[0].detail) == (DeliveryState.FAILED, "undelivered 30003")


async def test_without_a_receipts_server_none_are_asked_for(line: Line) -> None:
    await TwilioChannel(line.channel._config, line.channel._session, None, dt.UTC).tell(CONTACT, news())
    form = line.stub.requests[0][1]
    assert set(form) == {"To", "From", "Body", "ValidityPeriod"}
    assert 500 < int(form["ValidityPeriod"]) <= 600


@pytest.mark.parametrize(
    ("status", "code", "setup", "after"),
    [
        (429, 20429, False, 7.0), (400, 21611, False, None), (408, None, False, None), (401, 20003, True, None),
        (403, 20003, True, None), (403, None, True, None), (404, 20404, True, None), (400, 21606, True, None),
        (400, 21609, True, None), (302, None, True, None), (400, None, True, None),
    ],
)  # fmt: skip
async def test_what_may_pass_and_what_a_person_must_mend(
    line: Line, status: int, code: int | None, setup: bool, after: float | None
) -> None:
    headers = {"Retry_After": "7"} if after else {"Location": f"{line.stub.url}/elsewhere"}
    line.stub.play(status, code, f"no {NUMBER}", **headers)
    with pytest.raises(TryAgainError) as caught:
        await line.channel.tell(CONTACT, news())
    assert type(caught.value) is TryAgainError
    assert (caught.value.setup, caught.value.after) == (setup, after)
    assert str(status) in str(caught.value)
    assert NUMBER not in str(caught.value)
    assert len(line.stub.requests) == 1


@pytest.mark.parametrize(("status", "code"), [(400, 21211), (400, 21610), (400, 21408), (403, 21408), (400, 21617)])
async def test_what_is_refused_for_good_says_why_without_the_number(line: Line, status: int, code: int) -> None:
    line.stub.play(status, code, f"The 'To' number {NUMBER} or +1 (555) 123-4501 is not a valid phone number.")
    with pytest.raises(NeverError) as caught:
        await line.channel.tell(CONTACT, news())
    assert str(caught.value) == f"HTTP {status}: {code} The 'To' number *** or *** is not a valid phone number."


async def test_a_wrong_token_is_a_matter_of_the_settings_and_is_not_told(line: Line) -> None:
    line.stub.token = "another"
    with pytest.raises(TryAgainError, match="HTTP 401: 20003 Authenticate") as caught:
        await line.channel.tell(CONTACT, news())
    assert caught.value.setup
    assert line.channel._config.token not in repr(line.channel._config)


async def test_after_a_server_s_error_and_an_answer_that_says_nothing_it_is_asked(line: Line) -> None:
    line.stub.play(500, 20500, "Internal Server Error", Retry_After="3")
    with pytest.raises(UnsureError, match="HTTP 500") as caught:
        await line.channel.tell(CONTACT, news())
    assert caught.value.after == 3
    line.stub.answers.append("nonsense")
    with pytest.raises(UnsureError, match="without a message's id"):
        await line.channel.tell(CONTACT, news())
    line.stub.answers.append("nonsense")
    with pytest.raises(TryAgainError, match="without a list"):
        await line.channel.ask(CONTACT, news())


async def test_a_message_that_was_taken_without_an_answer_is_found_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = news()
    line.stub.answers.append("silent")
    with monkeypatch.context() as hurried:
        hurried.setattr(sms_http, "SECONDS", 0.5)
        with pytest.raises(UnsureError, match="no answer within"):
            await line.channel.tell(CONTACT, told)
    assert await line.channel.ask(CONTACT, told) is None
    plays: tuple[Play, ...] = ("silent, but takes it", "breaks, but takes it")
    for play in plays:
        told = news(reference=f"K7Q-{len(line.stub.messages)}MX", camera_name=play)
        line.stub.answers.append(play)
        with monkeypatch.context() as hurried:
            hurried.setattr(sms_http, "SECONDS", 0.5)
            with pytest.raises(UnsureError):
                await line.channel.tell(CONTACT, told)
        message = line.stub.messages[-1]
        assert await line.channel.ask(CONTACT, told) == Handed(provider_id=message["sid"])
        message |= {"status": "failed", "error_code": 30006, "error_message": f"Landline {NUMBER}"}
        found = await line.channel.ask(CONTACT, told)
        assert found == Handed(state=DeliveryState.FAILED, provider_id=message["sid"], detail="30006 Landline ***")


async def test_only_the_same_text_to_the_same_number_since_the_event_is_taken_for_it(line: Line) -> None:
    told = news()
    await line.channel.tell(replace(CONTACT, address="+15551234502"), told)
    await line.channel.tell(CONTACT, news(reference="AAA-AAA"))
    assert await line.channel.ask(CONTACT, told) is None
    line.stub.prefix = "Sent from your Twilio trial account - "
    handed = await line.channel.tell(CONTACT, told)
    assert await line.channel.ask(CONTACT, told) == handed
    line.stub.messages[-1]["date_created"] = email.utils.format_datetime(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert await line.channel.ask(CONTACT, told) is None


async def test_a_correction_is_looked_up_from_when_it_was_made(line: Line) -> None:
    seen = sighting(raised_at=time.time() - 50_000)
    update = Update(
        alert=seen.alert, reference=seen.reference, site=seen.site, category=seen.category, entry=seen.entry,
        state=AlertState.DISMISSED, updated_at=time.time(), reason="not him",
    )  # fmt: skip
    told = replace(news(), kind=NewsKind.CORRECTION, sighting=seen, update=update)
    handed = await line.channel.tell(CONTACT, told)
    assert line.stub.messages[-1]["body"] == "DRILL. CORRECTION: K7Q-2MX was dismissed: not him. No action needed."
    assert await line.channel.ask(CONTACT, told) == handed


async def test_more_messages_than_a_page_cannot_tell(line: Line) -> None:
    told = news()
    handed = await line.channel.tell(CONTACT, told)
    for _ in range(PAGE):
        line.stub._take({"To": NUMBER, "From": SENDER, "Body": "other"})
    with pytest.raises(CannotTellError):
        await line.channel.ask(CONTACT, told)
    old = email.utils.format_datetime(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    line.stub.messages[1]["date_created"] = old
    assert await line.channel.ask(CONTACT, told) is None
    assert handed.provider_id


async def test_an_account_that_is_away_was_sent_nothing(line: Line) -> None:
    await line.stub.stop()
    for call in (line.channel.tell, line.channel.ask):
        with pytest.raises(TryAgainError, match="cannot be reached") as caught:
            await call(CONTACT, news())
        assert type(caught.value) is TryAgainError
        assert not caught.value.setup


async def test_a_certificate_that_is_not_trusted_is_sent_nothing(line: Line, tmp_path: Any) -> None:
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=make_certificate(tmp_path).context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        config = replace(line.channel._config, url=f"https://localhost:{port}")
        with pytest.raises(TryAgainError, match="is not trusted") as caught:
            await TwilioChannel(config, line.channel._session, None, dt.UTC).tell(CONTACT, news())
    assert caught.value.setup
    assert not any(got)


async def test_nothing_tells_the_number_or_the_token_and_no_proxy_sees_them(
    line: Line, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (line.channel.label(CONTACT), line.channel.provider(CONTACT)) == ("+1…01", "twilio")
    await line.channel.tell(CONTACT, news())
    assert NUMBER not in caplog.text
    assert line.stub.token not in caplog.text
