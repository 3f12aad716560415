"""Notify: people and systems are told of alerts, by the site's policy, until somebody decides.

    alert.<site>.<category>.<entry> ──► planner: who is due, at which step
                                           │
          delivery.<channel>.<alert>.<event>.<recipient>, pending
                                           │
          one durable consumer a channel ──► courier ──► SMTP, SMS, HTTP POST, Apprise
                                           │
          sending, sent, delivered or failed ◄── receipts of the providers

An alert is told at least once until it expires. A repeat, only after a crash between hand-over and record, carries
the Message-ID or ``webhook-id`` of the first, or the provider was asked before.
"""

import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from aegis.contracts.deliveries import DeliveryState
from aegis.contracts.messages import SiteRecord
from aegis.contracts.telling import Telling
from aegis.notify.contents import Contents
from aegis.notify.courier import Courier
from aegis.notify.desk import Desk
from aegis.notify.formats import Formats
from aegis.notify.ledger import Ledger
from aegis.notify.opening import Opened
from aegis.notify.pictures import Album
from aegis.notify.planner import Planner
from aegis.notify.webhook_channel import open_session
from aegis.runtime import metrics, sealing, site_file
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting
from aegis.runtime.site_notify import NotifyConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings(ServiceSettings):
    """Settings of notify."""

    site_key_file: Path = setting(doc="The site's key: it opens the pictures that a mail may show.")
    site_file: Path = setting(doc="The site file; its section `notify` says who is told, and how.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the site file says."""

    site: SiteRecord
    cameras: dict[str, str]
    config: NotifyConfig
    policy: Telling


def _read(path: Path) -> Wanted:
    """Read what is of concern here; ValueError with what is wrong."""
    wanted = site_file.read(path, os.environ)
    cameras = {camera.camera: camera.name for camera in wanted.cameras()}
    return Wanted(wanted.site(), cameras, wanted.notify(), wanted.telling())


def _count(ledger: Ledger, channels: Iterable[str]) -> None:
    """Have the metrics tell of each channel from the start: for Prometheus one that begins with 1 has not grown."""
    for name in channels:
        metrics.DELIVERY_WAITING.labels(name).set_function(functools.partial(ledger.waiting, name))
        for state in (*(state.value for state in DeliveryState), "retried"):
            metrics.DELIVERIES.labels(name, state)


@contextlib.asynccontextmanager
async def build(context: Context[NotifySettings]) -> AsyncIterator[None]:
    settings = context.settings
    album = Album(context.bus, sealing.load(settings.site_key_file))
    async with contextlib.AsyncExitStack() as stack:
        start = await stack.enter_async_context(background())
        opened = Opened(await stack.enter_async_context(open_session()))
        try:
            wanted = _read(settings.site_file)
            policy, config = wanted.policy, wanted.config
            channels = opened.channels(config, policy.contacts, album)
            if config.receipts is not None:
                await stack.enter_async_context(opened.receipts(config.receipts))
        except ValueError as error:
            raise StartError(str(error)) from None
        except OSError as error:
            raise StartError(f"receipts: {error.strerror or error}") from None
        if not policy.contacts:
            log.warning("nobody is told of alerts: %s names no recipient", settings.site_file)
        planner = Planner(context.bus, policy, config.zone)
        ledger = Ledger(context, planner.look_at)
        contacts = {(contact.channel, contact.token): contact for contact in policy.contacts}
        contents = Contents(ledger, wanted.site)
        couriers = {c.name: Courier(context, ledger, c, contacts=contacts, compose=contents.of) for c in channels}
        _count(ledger, couriers)
        opened.take = {name: courier.take_receipt for name, courier in couriers.items()}
        formats = Formats(context, names=policy.sms_names)
        desk = Desk(
            context,
            ledger,
            policy=policy,
            zone=config.zone,
            site=wanted.site,
            cameras=wanted.cameras,
            couriers=couriers,
        )

        def busy() -> int:
            left = ledger.unfinished + planner.busy + formats.busy + sum(courier.busy for courier in couriers.values())
            context.health.detail["recipients"] = {k: v for c in couriers.values() for k, v in c.describe().items()}
            return left or int(not ledger.complete)

        context.health.busy = busy
        running = (ledger.follow_alerts(), ledger.follow_deliveries(), planner.run(ledger, start), desk.serve())
        for coroutine in (*running, *(c.hold() for c in couriers.values()), *opened.running, formats.run()):
            start(coroutine)
        taking = [start(courier.run(start)) for courier in couriers.values()]
        yield
        for task in taking:
            task.cancel()
        for courier in couriers.values():
            await courier.leave()


SERVICE = Service("notify", NotifySettings, build)
