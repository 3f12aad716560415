"""Opens what the site file names: a channel for everything by which somebody is told, and where receipts come in."""

import datetime as dt
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager

import aiohttp

from aegis.contracts.telling import Contact
from aegis.notify import other_channel
from aegis.notify.channel import Channel, Receipt, TakeReceipt
from aegis.notify.email_channel import EmailChannel
from aegis.notify.kannel_channel import KannelChannel, KannelReceipts
from aegis.notify.other_channel import OtherChannel
from aegis.notify.pictures import Album
from aegis.notify.receipts import ReceiptServer, Validator
from aegis.notify.smpp_channel import SmppChannel
from aegis.notify.twilio_channel import TwilioChannel, TwilioReceipts
from aegis.notify.webhook_channel import WebhookChannel
from aegis.runtime import metrics
from aegis.runtime.site_notify import NotifyConfig, ReceiptsConfig, SmppConfig, SmsConfig, TwilioConfig


class Opened:
    """What is open. ``take`` says who takes the receipts of a channel, and ``running`` what has to run beside it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._validators: list[Validator] = []
        self.take: dict[str, TakeReceipt] = {}
        self.running: list[Coroutine[None, None, None]] = []

    def channels(self, config: NotifyConfig, contacts: Sequence[Contact], album: Album) -> list[Channel]:
        """Open every channel.

        Raises:
            ValueError: a setting is wrong; the text holds no secret.

        """
        wanted = {contact.channel for contact in contacts}
        made: list[Channel] = []
        if config.email is not None:
            made.append(EmailChannel(config.email, album, config.zone))
        if config.sms is not None:
            made.append(self._sms(config.sms, config.receipts, config.zone))
        if "webhook" in wanted:
            made.append(WebhookChannel(self._session, contacts))
        if "other" in wanted:
            for contact in contacts:
                if contact.channel == "other":
                    other_channel.check(contact.address)
            made.append(OtherChannel(config.zone))
        return made

    def _sms(self, config: SmsConfig, receipts: ReceiptsConfig | None, zone: dt.tzinfo) -> Channel:
        if isinstance(config, SmppConfig):
            channel = SmppChannel(config, self._take, zone)
            self.running.append(channel.run())
            return channel
        callback: Callable[[str], str] | None = None
        if receipts is not None:
            validator: TwilioReceipts | KannelReceipts
            if isinstance(config, TwilioConfig):
                validator = TwilioReceipts(config, receipts.url)
            else:
                validator = KannelReceipts(config, receipts.url)
            self._validators.append(validator)
            callback = validator.url
        if isinstance(config, TwilioConfig):
            return TwilioChannel(config, self._session, callback, zone)
        return KannelChannel(config, self._session, callback, zone)

    def receipts(self, config: ReceiptsConfig) -> AbstractAsyncContextManager[None]:
        """Serve receipts; OSError if that address cannot be listened on."""
        return ReceiptServer(
            host=config.host, port=config.port, take=self._take, validators=self._validators, count=_count
        ).serve()

    async def _take(self, receipt: Receipt) -> None:
        """Hand a receipt to its channel; only SMS has any."""
        if (take := self.take.get("sms")) is None:
            raise LookupError("not ready yet")
        await take(receipt)


def _count(provider: str, outcome: str) -> None:
    metrics.RECEIPTS.labels(provider, outcome).inc()
