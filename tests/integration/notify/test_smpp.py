"""SMS by SMPP, against an SMS centre whose PDUs another library codes."""

import asyncio
import contextlib
import datetime as dt
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiosmpplib.state import OptionalParam, SmppCommandStatus
from tests.bus import until
from tests.integration.notify.conftest import sighting
from tests.peers.mail_server import make_certificate
from tests.peers.smpp_server import MESSAGE_STATE, RECEIPTED_MESSAGE_ID, SmppServer

from aegis.contracts import alerts, cloudevents
from aegis.contracts.deliveries import DeliveryState, NewsKind
from aegis.contracts.telling import Contact
from aegis.notify import smpp_channel, smpp_link, sms_words
from aegis.notify.channel import Handed, News, Receipt
from aegis.notify.core import CannotTellError, NeverError, TryAgainError, UnsureError
from aegis.notify.smpp_channel import SmppChannel
from aegis.runtime import tasks
from aegis.runtime.site_notify import SmppConfig

GUARD = Contact(person="guard", name="Guard", channel="sms", address="+15550001234")
NUMBER = "15550001234"
STATUS = SmppCommandStatus


def news(**changes: Any) -> News:
    seen = sighting(**changes)
    event = alerts.event(alerts.RAISED, "e1", seen)
    return News(
        identity="e1-guard",
        kind=NewsKind.ALERT,
        sighting=seen,
        event=event,
        body=cloudevents.dump(event),
        expires_at=seen.expires_at,
    )


class Desk:
    """Takes receipts; ``errors`` are raised by the next ones."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.errors: list[Exception] = []

    async def take(self, receipt: Receipt) -> None:
        if self.errors:
            raise self.errors.pop()
        self.receipts.append(receipt)


@pytest.fixture
async def server() -> AsyncIterator[SmppServer]:
    made = SmppServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def configure(server: SmppServer, **changes: Any) -> SmppConfig:
    values = {"host": "127.0.0.1", "port": server.port, "tls": False, "user": "aegis", "password": "pw"}
    return SmppConfig(**{**values, "sender": "Aegis", **changes})


@contextlib.asynccontextmanager
async def running(config: SmppConfig, desk: Desk) -> AsyncIterator[SmppChannel]:
    channel = SmppChannel(config, desk.take, dt.UTC)
    task = asyncio.create_task(channel.run())
    try:
        yield channel
    finally:
        await tasks.end([task])


@pytest.fixture
async def channel(server: SmppServer, desk: Desk) -> AsyncIterator[SmppChannel]:
    async with running(configure(server), desk) as made:
        yield made


async def test_a_message_is_taken_and_named(server: SmppServer, channel: SmppChannel) -> None:
    told = news(camera_name="Tür {Ost} €")

    assert await channel.tell(GUARD, told) == Handed(state=DeliveryState.SENT, provider_id="1")

    [message] = server.messages
    assert message.short_message == sms_words.text(told, names=False, zone=dt.UTC)
    assert "Tür {Ost} €" in message.short_message
    assert (message.source.number, message.source.ton, message.source.npi) == ("Aegis", 5, 0)
    assert (message.destination.number, message.destination.ton, message.destination.npi) == (NUMBER, 1, 1)
    # None is the peer's default alphabet, GSM 03.38.
    assert (message.registered_delivery, message.encoding, message.esm_class) == (1, None, 0)


async def test_a_sender_that_is_a_number(server: SmppServer, desk: Desk) -> None:
    async with running(configure(server, sender="+4930123456", names=True), desk) as channel:
        await channel.tell(GUARD, news())

    [message] = server.messages
    assert (message.source.number, message.source.ton, message.source.npi) == ("4930123456", 1, 1)
    assert "Grace Hopper" in message.short_message


@pytest.mark.parametrize(
    ("status", "setup"),
    [
        (STATUS.ESME_RTHROTTLED, False),
        (STATUS.ESME_RMSGQFUL, False),
        (STATUS.ESME_RSYSERR, False),
        (STATUS.ESME_RSUBMITFAIL, False),
        (STATUS.ESME_RINVSRCADR, True),
    ],
)
async def test_what_may_pass_is_tried_again(
    server: SmppServer, channel: SmppChannel, status: SmppCommandStatus, setup: bool
) -> None:
    server.answers.append(status)
    with pytest.raises(TryAgainError, match=f"0x{status:02X}") as caught:
        await channel.tell(GUARD, news())
    assert caught.value.setup == setup
    assert not isinstance(caught.value, UnsureError)
    assert (await channel.tell(GUARD, news())).provider_id == "1"


async def test_a_number_that_does_not_exist_is_given_up(server: SmppServer, channel: SmppChannel) -> None:
    server.answers.append(STATUS.ESME_RINVDSTADR)
    with pytest.raises(NeverError, match="ESME_RINVDSTADR"):
        await channel.tell(GUARD, news())
    with pytest.raises(NeverError, match="no telephone number") as caught:
        await channel.tell(Contact(person="g", name="G", channel="sms", address="guard@example.org"), news())
    assert "guard@" not in str(caught.value)
    assert not server.messages


async def test_answers_find_their_messages_through_a_full_window(server: SmppServer, channel: SmppChannel) -> None:
    server.holding = True
    texts = [f"Camera {number}" for number in range(25)]
    telling = [asyncio.create_task(channel.tell(GUARD, news(camera_name=text))) for text in texts]
    await until(lambda: server.most_unanswered == smpp_link.WINDOW, "the window is full")
    server.release()
    handed = await asyncio.gather(*telling)

    assert server.most_unanswered == smpp_link.WINDOW
    by_id = {str(number): message.short_message for number, message in enumerate(server.messages, start=1)}
    for text, one in zip(texts, handed, strict=True):
        assert f"{text}," in by_id[one.provider_id]


async def test_a_line_lost_before_the_answer_leaves_it_unsure(server: SmppServer, channel: SmppChannel) -> None:
    server.drop = "before"
    with pytest.raises(UnsureError):
        await channel.tell(GUARD, news())
    with pytest.raises(CannotTellError):
        await channel.ask(GUARD, news())
    assert (await channel.tell(GUARD, news())).provider_id == "2"
    assert server.binds == 2


async def test_a_line_lost_after_the_answer_loses_nothing(server: SmppServer, channel: SmppChannel) -> None:
    server.drop = "after"
    assert (await channel.tell(GUARD, news())).provider_id == "1"
    await until(lambda: server.binds == 2 and server.bound, "a new session")
    assert (await channel.tell(GUARD, news())).provider_id == "2"


async def test_an_answer_that_does_not_come_ends_a_dead_line(
    server: SmppServer, channel: SmppChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: server.bound, "a session")
    monkeypatch.setattr(smpp_link, "ANSWER_SECONDS", 0.2)
    server.deaf = True
    with pytest.raises(UnsureError, match="no answer within"):
        await channel.tell(GUARD, news())
    server.deaf = False
    await until(lambda: server.binds == 2 and server.bound, "a new session")
    await channel.tell(GUARD, news())


async def test_a_quiet_line_is_asked_whether_it_is_alive(
    server: SmppServer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smpp_link, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(smpp_link, "ANSWER_SECONDS", 0.5)
    async with running(configure(server), desk):
        await until(lambda: server.enquiries >= 3, "asked again and again")
        assert server.binds == 1
        server.deaf = True
        await until(lambda: not server.bound, "a line that does not answer is given up")
        server.deaf = False
        await until(lambda: server.binds == 2 and server.bound, "a new session")


async def test_a_refused_bind_is_for_a_person_to_mend(
    server: SmppServer, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(smpp_channel, "BOUND_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG)
    async with running(configure(server, password="wrong"), desk) as channel:
        with pytest.raises(TryAgainError, match="ESME_RINVPASWD") as caught:
            await channel.tell(GUARD, news())
        assert caught.value.setup
        await until(lambda: server.binds >= 2, "it tries again")
        server.login = ("aegis", "wrong")
        await until(lambda: server.bound, "it is let in")
        await channel.tell(GUARD, news())
    assert "ESME_RINVPASWD" in caplog.text
    assert "wrong" not in caplog.text
    assert caplog.text.count("no session") == 1


async def test_an_smsc_that_is_away_is_found_when_it_is_back(
    server: SmppServer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smpp_channel, "BOUND_SECONDS", 0.3)
    await server.stop()
    async with running(configure(server), desk) as channel:
        with pytest.raises(TryAgainError, match="cannot be reached") as caught:
            await channel.tell(GUARD, news())
        assert not caught.value.setup
        await server.start()
        await until(lambda: server.bound, "bound")
        await channel.tell(GUARD, news())
        server.unbind()
        await until(lambda: server.binds == 2 and server.bound, "bound again after the SMSC took leave")


async def test_leave_is_taken(server: SmppServer, desk: Desk) -> None:
    async with running(configure(server), desk):
        await until(lambda: server.bound, "bound")
    assert server.unbinds == 1


LONG = "id:{} sub:001 dlvrd:{} submit date:261124010203 done date:261124010305 stat:{} err:{} text:id:9 stat:X err:9"


@pytest.mark.parametrize(
    ("text", "options", "state", "detail"),
    [
        (LONG.format(7, "001", "DELIVRD", "000"), {}, DeliveryState.DELIVERED, "DELIVRD err:000"),
        (LONG.format(7, "000", "UNDELIV", "0A1"), {}, DeliveryState.FAILED, "UNDELIV err:0A1"),
        ("id:7 stat:EXPIRED", {}, DeliveryState.FAILED, "EXPIRED"),
        ("-", {RECEIPTED_MESSAGE_ID: "7", MESSAGE_STATE: 8}, DeliveryState.FAILED, "REJECTD"),
    ],
)
async def test_receipts(  # noqa: PLR0917 - fixtures and what is expected
    server: SmppServer,
    channel: SmppChannel,
    desk: Desk,
    text: str,
    options: dict[int, int | str],
    state: DeliveryState,
    detail: str,
) -> None:
    server.first_id = 7
    handed = await channel.tell(GUARD, news())
    server.receipt(text, NUMBER, *(OptionalParam(tag, value) for tag, value in options.items()))
    await until(lambda: len(server.delivery_answers) == 1, "it is answered")
    assert desk.receipts == [Receipt(state=state, provider_id=handed.provider_id, detail=detail)]
    assert server.delivery_answers == [STATUS.ESME_ROK]


@pytest.mark.parametrize(
    ("number", "id_format", "written"),
    [
        (3735928559, "{}", "DEADBEEF"),
        (3735928559, "{:X}", "3735928559"),
        (255, "{:08x}", "255"),
        (12, "{}", "0000000012"),
    ],
)
async def test_an_id_in_another_base_is_recognised(  # noqa: PLR0917 - as above
    channel: SmppChannel, server: SmppServer, desk: Desk, number: int, id_format: str, written: str
) -> None:
    server.first_id, server.id_format = number, id_format
    handed = await channel.tell(GUARD, news())
    server.receipt(f"id:{written} stat:DELIVRD err:000", "15550009999")
    await until(lambda: len(desk.receipts) == 1, "the first")
    server.receipt(f"id:{written} stat:DELIVRD err:000", NUMBER)
    await until(lambda: len(desk.receipts) == 2, "the second")
    # Of another telephone number it is another message.
    assert [one.provider_id for one in desk.receipts] == [written, handed.provider_id]


async def test_a_late_receipt_comes_over_a_new_session(server: SmppServer, channel: SmppChannel, desk: Desk) -> None:
    await channel.tell(GUARD, news())
    server.disconnect()
    await until(lambda: server.binds == 2 and server.bound, "a new session")
    server.receipt("id:1 stat:DELIVRD err:000", NUMBER)
    await until(lambda: bool(desk.receipts), "the receipt")
    assert desk.receipts[0].provider_id == "1"


async def test_a_receipt_that_cannot_be_recorded_is_to_be_given_again(
    server: SmppServer, channel: SmppChannel, desk: Desk
) -> None:
    await channel.tell(GUARD, news())
    for error, answer in ((RuntimeError("away"), STATUS.ESME_RX_T_APPN), (LookupError("unknown"), STATUS.ESME_ROK)):
        desk.errors.append(error)
        server.delivery_answers.clear()
        server.receipt("id:1 stat:DELIVRD err:000", NUMBER)
        await until(lambda: bool(server.delivery_answers), "it is answered")
        assert server.delivery_answers == [answer]
    server.receipt("id:1 stat:DELIVRD err:000", NUMBER)
    await until(lambda: bool(desk.receipts), "the repeat")


async def test_what_is_no_receipt_of_an_end_is_only_answered(
    server: SmppServer, channel: SmppChannel, desk: Desk
) -> None:
    await channel.tell(GUARD, news())
    server.receipt("STOP id:1 stat:DELIVRD", NUMBER, esm_class=0)
    server.receipt("id:1 stat:ENROUTE err:000", NUMBER)
    server.receipt("id:1 stat:ACCEPTD err:000", NUMBER)
    server.enquire()
    await until(lambda: len(server.delivery_answers) == 4, "all are answered")
    assert server.delivery_answers == [0, 0, 0, 0]
    assert not desk.receipts


async def test_bytes_that_are_no_smpp_end_the_session_alone(
    server: SmppServer, channel: SmppChannel, desk: Desk
) -> None:
    await channel.tell(GUARD, news())
    server.send(bytes.fromhex("00000014 00000103 00000000 00000001 00000000"))
    server.send(bytes.fromhex("00000012 00000005 00000000 00000002 0000"))
    await until(lambda: len(server.delivery_answers) == 2, "what cannot be read is refused")
    assert sorted(server.delivery_answers) == [STATUS.ESME_RINVMSGLEN, STATUS.ESME_RINVCMDID]
    assert server.binds == 1
    server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await until(lambda: server.binds == 2 and server.bound, "a new session")
    assert (await channel.tell(GUARD, news())).provider_id == "2"


async def test_tls_is_verified(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, other = make_certificate(tmp_path / "ours"), make_certificate(tmp_path / "other")
    server = SmppServer(tls=certificate.context())
    await server.start()
    monkeypatch.setattr(smpp_channel, "BOUND_SECONDS", 1.0)
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
        async with running(configure(server, tls=True, host="localhost"), desk) as channel:
            assert (await channel.tell(GUARD, news())).provider_id == "1"
        monkeypatch.setenv("SSL_CERT_FILE", str(other.ca))
        async with running(configure(server, tls=True, host="localhost"), desk) as channel:
            with pytest.raises(TryAgainError, match="certificate is not trusted") as caught:
                await channel.tell(GUARD, news())
            assert caught.value.setup
    finally:
        await server.stop()


async def test_nobody_s_port_and_no_address_are_named_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp_channel, "BOUND_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        config = SmppConfig(
            host="127.0.0.1", port=free.getsockname()[1], tls=False, user="aegis", password="hush", sender="Aegis"
        )
        async with running(config, desk) as channel:
            with pytest.raises(TryAgainError) as caught:
                await channel.tell(GUARD, news())
    assert "hush" not in str(caught.value)
    assert GUARD.address not in channel.label(GUARD) + channel.provider(GUARD) + str(caught.value)


@pytest.mark.parametrize("changes", [{"user": "ägis"}, {"password": "hush\0"}, {"sender": "far too long a name"}])
def test_settings_that_smpp_cannot_say_are_refused(desk: Desk, changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"ASCII|characters") as caught:
        SmppChannel(configure(SmppServer(port=1), **changes), desk.take, dt.UTC)
    assert "hush" not in str(caught.value)
