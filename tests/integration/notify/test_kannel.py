"""SMS through a real Kannel gateway with a fake SMS centre: hand-over, reports, and what is away."""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.bus import until
from tests.integration.notify.test_twilio import CONTACT, NUMBER, news, text
from tests.peers import kannel
from tests.peers.kannel import Kannel

from aegis.contracts.deliveries import DeliveryState
from aegis.notify import sms_http
from aegis.notify.channel import Receipt
from aegis.notify.core import CannotTellError, NeverError, TryAgainError, UnsureError
from aegis.notify.kannel_channel import KannelChannel, KannelReceipts
from aegis.notify.receipts import ReceiptServer
from aegis.notify.webhook_channel import open_session
from aegis.runtime.site_notify import KannelConfig

SENDER = "Aegis"


@dataclass
class Line:
    """A channel to the gateway, with a receipts server for its reports."""

    gateway: Kannel
    config: KannelConfig
    channel: KannelChannel
    receipts: list[Receipt] = field(default_factory=list)

    def states(self, identity: str) -> list[DeliveryState]:
        return [receipt.state for receipt in self.receipts if receipt.identity == identity]


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    gateway = Kannel(tmp_path)
    receipts: list[Receipt] = []

    async def take(receipt: Receipt) -> None:
        receipts.append(receipt)

    config = KannelConfig(url=gateway.url, user=kannel.USER, password=kannel.PASSWORD, sender=SENDER)
    (port,) = kannel.free_ports(1)
    checked = KannelReceipts(config, f"http://127.0.0.1:{port}")
    server = ReceiptServer(host="127.0.0.1", port=port, take=take, validators=(checked,), count=lambda *_: None)
    async with server.serve(), gateway.run(), open_session() as session:
        yield Line(gateway, config, KannelChannel(config, session, checked.url, dt.UTC), receipts)


async def test_a_message_arrives_and_is_reported_delivered(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = news(camera_name="Größe é £ € [a] @ $_ Ирина")
    handed = await line.channel.tell(CONTACT, told)
    assert (handed.state, handed.detail) == (DeliveryState.SENT, "0: Accepted for delivery")
    await until(lambda: DeliveryState.DELIVERED in line.states(told.identity), "delivered")
    assert line.states(told.identity) == [DeliveryState.SENT, DeliveryState.DELIVERED]
    assert line.receipts[-1].provider_id
    assert line.gateway.received() == [(SENDER, NUMBER, text(told))]
    assert "Größe é £ € [a] @ $_ Irina" in text(told)
    assert NUMBER not in caplog.text
    assert kannel.PASSWORD not in caplog.text + line.gateway.access() + repr(line.config)
    with pytest.raises(CannotTellError):
        await line.channel.ask(CONTACT, told)


async def test_while_the_sms_centre_is_away_kannel_keeps_it(line: Line) -> None:
    line.gateway.kill_centre()
    told = news()
    while (handed := await line.channel.tell(CONTACT, told)).detail != "3: Queued for later delivery":
        pass  # Kannel has not noticed yet.
    assert handed.state is DeliveryState.SENT
    assert DeliveryState.DELIVERED not in line.states(told.identity)
    await line.gateway.start_centre()
    await until(lambda: DeliveryState.DELIVERED in line.states(told.identity), "delivered after all")
    assert (SENDER, NUMBER, text(told)) in line.gateway.received()


async def test_a_gateway_that_does_not_answer_may_have_taken_it(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.gateway.pause()
    told = news()
    with monkeypatch.context() as hurried:
        hurried.setattr(sms_http, "SECONDS", 0.5)
        with pytest.raises(UnsureError, match="no answer within"):
            await line.channel.tell(CONTACT, told)
    line.gateway.resume()
    await until(lambda: line.gateway.received() == [(SENDER, NUMBER, text(told))], "it had been taken")


async def test_a_gateway_that_is_away_was_sent_nothing(line: Line) -> None:
    line.gateway.stop()
    with pytest.raises(TryAgainError, match="cannot be reached") as caught:
        await line.channel.tell(CONTACT, news())
    assert type(caught.value) is TryAgainError
    assert not caught.value.setup


async def test_refusals(line: Line) -> None:
    for contact, problem in (
        (replace(CONTACT, address=f"{kannel.NO_ROUTE}1234501"), "HTTP 403: Not routable. Do not try again."),
        (replace(CONTACT, address="nobody"), "HTTP 400: Number(s) has/have been denied by white- and/or black-lists."),
    ):
        with pytest.raises(NeverError) as refused:
            await line.channel.tell(contact, news())
        assert str(refused.value) == problem
    for config, problem in (
        (replace(line.config, password="wrong"), "HTTP 403: Authorization failed for sendsms"),
        (replace(line.config, user="wrong"), "HTTP 403: Authorization failed for sendsms"),
        (replace(line.config, sender=""), "HTTP 400: Sender missing and no global set, rejected"),
        (replace(line.config, url=line.config.url + "s"), "HTTP 404: "),
    ):
        with pytest.raises(TryAgainError) as caught:
            await KannelChannel(config, line.channel._session, None, dt.UTC).tell(CONTACT, news())
        assert caught.value.setup
        assert str(caught.value).startswith(problem)
        assert line.config.password not in str(caught.value)
    assert line.gateway.received() == []
