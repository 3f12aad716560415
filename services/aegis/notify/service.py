"""Notify: tells people by mail and systems by webhook of every alert, each recipient at its own pace.

    alert.<site>.<category>.<entry> ──► one durable consumer a recipient ──► SMTP, HTTP POST
                                        buckets evidence, watchlist, photos ──► the pictures in a mail
                                        what became of it ──► delivery.<channel>.<event>.<recipient>

An alert is told at least once until it expires. A repeat (only after a crash between hand-over and record) carries
the Message-ID or ``webhook-id`` of the first.
"""

import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aegis.notify.email_channel import open_email
from aegis.notify.pictures import Album
from aegis.notify.recipient import Channel, Recipient
from aegis.notify.webhook_channel import open_session, open_webhook
from aegis.runtime import sealing, site_file
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings(ServiceSettings):
    """Settings of notify."""

    site_key_file: Path = setting(doc="The site's key: it opens the pictures that a mail may show.")
    site_file: Path = setting(doc="The site file; its section `notify` says who is told, and how.")


@contextlib.asynccontextmanager
async def build(context: Context[NotifySettings]) -> AsyncIterator[None]:
    settings = context.settings
    album = Album(context.bus, sealing.load(settings.site_key_file))
    async with open_session() as session:
        channels: list[Channel] = []
        try:
            told = site_file.read(settings.site_file, os.environ).notify()
            channels += open_email(told.email, album) if told.email else []
            channels += [open_webhook(hook, session) for hook in told.webhooks]
        except ValueError as error:
            raise StartError(str(error)) from None
        # Who stands twice in the file is told once.
        recipients = list({channel.token: Recipient(context, channel) for channel in channels}.values())
        if not recipients:
            log.warning("nobody is told of alerts: %s names no recipient", settings.site_file)
        context.health.busy = lambda: sum(recipient.busy for recipient in recipients)
        context.health.detail["recipients"] = {recipient.name: recipient.detail for recipient in recipients}
        async with background() as start:
            taking = [start(recipient.run(start)) for recipient in recipients]
            for recipient in recipients:
                start(recipient.watch())
            yield
            for task in taking:
                task.cancel()
            for recipient in recipients:
                await recipient.leave()


SERVICE = Service("notify", NotifySettings, build)
