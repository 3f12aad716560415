"""Alerts as mails: what they say and show, and what happens when a mail server does not play along."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.bus import until
from tests.integration.notify.conftest import World
from tests.peers.mail_server import MailServer, make_certificate

from aegis.contracts import cloudevents, subjects
from aegis.contracts.deliveries import DeliveryState
from aegis.contracts.telling import Contact
from aegis.notify import core
from aegis.notify.courier import ACK_SECONDS
from aegis.notify.limits import FAILURES

GUARD, CHIEF, NURSE = "guard@north.example", "chief@north.example", "nurse@north.example"


@contextlib.asynccontextmanager
async def serving(server: MailServer) -> AsyncIterator[MailServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def sink() -> AsyncIterator[MailServer]:
    """A mail server without TLS on this machine."""
    async with serving(MailServer()) as server:
        yield server


def insecure(server: MailServer) -> str:
    return f"smtp+insecure://127.0.0.1:{server.port}"


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def images_of(mail: EmailMessage) -> dict[str, bytes]:
    """Give the pictures of a mail by their content id."""
    return {
        str(part["Content-ID"]).strip("<>"): part.get_payload(decode=True)  # type: ignore[misc]
        for part in mail.walk()
        if part.get_content_maintype() == "image"
    }


async def test_a_mail_over_starttls_with_both_faces_side_by_side(world: World, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "mail")
    server = MailServer(tls="starttls", certificate=certificate, login=("aegis", "s3cret/@"))
    async with serving(server):
        smtp = f"smtp://aegis:${{SMTP_PASSWORD}}@localhost:{server.port}"
        world.configure(
            {"email": world.mail_to(smtp, GUARD, pictures=True, ca=certificate.ca)}, SMTP_PASSWORD="s3cret%2F%40"
        )
        await world.enrol()
        await world.start()
        event = await world.publish(chip="k1.probe")
        await world.store_probe("k1.probe")  # A moment after the alert, as match does.
        record = await world.delivered(event, "email", GUARD)

    assert (record.state, record.attempts) == (DeliveryState.SENT, 1)
    [mail] = server.of(GUARD)
    assert str(mail["Subject"]).startswith("[DRILL] Grace Hopper (barred) seen at Main lobby, ")
    assert mail["Message-ID"] == f"<{core.repeat_id(event.id, record.recipient)}@north.example>"
    assert "clear match (score 0.71; this site alerts from 0.50; over 4 looks)" in text_of(mail)
    assert "A person must decide" in text_of(mail)
    images = images_of(mail)
    page = mail.get_body(("html",))
    assert page is not None
    assert len(images) == 2
    for identity, data in images.items():
        assert f'src="cid:{identity}"' in page.get_content()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[0] == 224
    await until(world.idle, "nothing is left to do")
    metrics = (await world.status())["metrics"]
    assert metrics['aegis_deliveries_total{channel="email",state="sent"}'] == 1
    assert metrics['aegis_deliveries_total{channel="email",state="failed"}'] == 0, "it is there before it grows"
    assert metrics['aegis_delivery_latency_seconds_count{channel="email"}'] == 1
    assert metrics['aegis_delivery_waiting_seconds{channel="email"}'] == 0
    assert GUARD not in world.log.read_text()
    assert "s3cret" not in world.log.read_text()
    assert await world.terminate() == 0


async def test_no_picture_leaves_the_site_where_pictures_are_off(world: World, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "mail")
    async with serving(MailServer(tls="implicit", certificate=certificate)) as server:
        smtp = f"smtps://localhost:{server.port}"
        world.configure({"email": world.mail_to(smtp, GUARD, pictures=False, ca=certificate.ca)})
        await world.enrol()
        await world.store_probe("k1.probe")
        await world.start()
        await world.delivered(await world.publish(chip="k1.probe"), "email", GUARD)
    [mail] = server.of(GUARD)
    assert images_of(mail) == {}
    assert "aegis alerts picture K7Q-2MX --out FOLDER" in text_of(mail)


async def test_a_mail_does_not_wait_for_a_picture_that_never_comes(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD, pictures=True)})
    await world.enrol()
    await world.start()
    event = await world.publish(chip="k1.never")
    record = await world.delivered(event, "email", GUARD)
    assert record.at - cloudevents.seconds(event.data["raised_at"]) < 3.0
    [mail] = sink.of(GUARD)
    assert len(images_of(mail)) == 1
    assert "The camera's picture is not available" in text_of(mail)


async def test_put_off_is_tried_again_and_refused_is_not(world: World, sink: MailServer) -> None:
    sink.putting_off[GUARD] = 1
    sink.refusing.add(CHIEF)
    world.configure({"email": world.mail_to(insecure(sink), GUARD, CHIEF, NURSE)})
    await world.start()
    event = await world.publish()
    nurse, chief, guard = [await world.delivered(event, "email", to) for to in (NURSE, CHIEF, GUARD)]
    assert (nurse.state, nurse.attempts) == (DeliveryState.SENT, 1)
    assert chief.state is DeliveryState.FAILED
    assert "550" in chief.detail
    assert CHIEF not in chief.detail
    assert (guard.state, guard.attempts) == (DeliveryState.SENT, 2)
    assert len(sink.of(GUARD)) == len(sink.of(NURSE)) == 1
    [letter] = await world.dead_letters()
    assert letter.service == "notify"
    assert "550" in letter.problem
    await until(world.idle, "nothing is left to do")


async def test_a_mail_server_that_is_away_gets_its_mail_later(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD)})
    await sink.stop()
    await world.start()
    event = await world.publish()
    short = await world.publish(lasts=1.5)
    failed = await world.delivered(short, "email", GUARD)
    assert failed.state is DeliveryState.FAILED
    status = await world.status()
    assert status["busy"] >= 1
    [detail] = status["detail"]["recipients"].values()
    assert detail["to"] == "g…@north.example"
    assert str(sink.port) in detail["last_error"]
    await sink.start()
    record = await world.delivered(event, "email", GUARD)
    assert record.state is DeliveryState.SENT
    assert record.attempts > 1
    assert len(sink.of(GUARD)) == 1


async def test_a_killed_notify_tells_every_alert_and_a_repeat_can_be_recognised(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD)})
    sink.holding = True
    await world.start()
    events = [await world.publish() for _ in range(3)]
    await until(lambda: len(sink.mails) == 3, "three mails are being taken")
    world.kill()
    sink.release()
    await world.start()
    assert not await world.idle()
    for event in events:
        assert (await world.delivered(event, "email", GUARD)).state is DeliveryState.SENT
    identities = [str(mail["Message-ID"]) for mail in sink.of(GUARD)]
    assert len(identities) == 6
    assert len(set(identities)) == 3


async def test_a_stopped_notify_gives_what_it_could_not_finish_to_the_next_at_once(
    world: World, sink: MailServer
) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD)})
    sink.holding = True
    await world.start()
    event = await world.publish()
    await until(lambda: len(sink.mails) == 1, "the mail is being taken")
    assert await world.terminate() == 0
    sink.release()
    stopped = time.time()
    await world.start()
    record = await world.delivered(event, "email", GUARD)
    assert record.state is DeliveryState.SENT
    assert record.at - stopped < ACK_SECONDS / 2


async def test_a_bus_that_is_killed_and_comes_back_costs_nothing(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD)})
    sink.holding = True
    await world.start()
    first = await world.publish()
    await until(lambda: len(sink.mails) == 1, "the mail is being taken")
    world.server.kill()
    sink.release()
    world.server.start()
    second = await world.publish()
    for event in (first, second):
        assert (await world.delivered(event, "email", GUARD)).state is DeliveryState.SENT
    await until(world.idle, "nothing is left to do", 20.0)
    assert len(sink.of(GUARD)) == 2


async def test_what_was_told_is_not_told_again_when_the_bus_lost_its_consumer(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD)})
    await world.start()
    first = await world.publish()
    await world.delivered(first, "email", GUARD)
    jetstream = world.admin.client.jetstream()
    await jetstream.delete_consumer(subjects.DELIVERIES, "notify-email")
    second = await world.publish()
    assert (await world.delivered(second, "email", GUARD)).state is DeliveryState.SENT
    await until(world.idle, "nothing is left to do")
    assert len(sink.mails) == 2

    async def read_again() -> bool:
        """Tell whether it read all records of both again: pending, sending, sent."""
        info = await jetstream.consumer_info(subjects.DELIVERIES, "notify-email")
        return info.delivered is not None and info.delivered.consumer_seq == 6

    await until(read_again, "the consumer has read everything from the beginning")


async def test_what_is_late_malformed_or_no_news_is_not_told_and_stops_nothing(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD)})
    await world.publish_raw(b"not JSON", "m1")
    await world.publish_raw(b'{"specversion": "1.0"}', "m2")
    await world.publish_raw(b"[" * 50_000, "m3")
    late = await world.publish(lasts=-1.0)
    await world.start()
    good = await world.publish()
    assert (await world.delivered(late, "email", GUARD)).state is DeliveryState.EXPIRED
    assert (await world.delivered(good, "email", GUARD)).state is DeliveryState.SENT
    await until(world.idle, "nothing is left to do")
    assert len(sink.mails) == 1
    letters = await world.dead_letters()
    assert len(letters) == 3
    assert "not JSON" in letters[0].problem


async def test_a_server_that_nobody_vouches_for_gets_nothing_and_the_log_says_why(world: World, tmp_path: Path) -> None:
    certificate, other = make_certificate(tmp_path / "mail"), make_certificate(tmp_path / "other")
    async with serving(MailServer(tls="starttls", certificate=certificate)) as server:
        smtp = f"smtp://aegis:hush@localhost:{server.port}"
        world.configure({"email": world.mail_to(smtp, GUARD, ca=other.ca)})
        await world.start()
        event = await world.publish(lasts=4.0)
        record = await world.delivered(event, "email", GUARD)
    assert record.state is DeliveryState.FAILED
    assert record.attempts > 1
    assert server.mails == []
    log = world.log.read_text()
    assert "CANNOT BE TOLD until the settings are mended: the certificate of localhost" in log
    assert "hush" not in log


async def test_one_address_that_is_put_off_keeps_nobody_else_waiting(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD, CHIEF)})
    sink.putting_off[CHIEF] = 1000
    await world.start()
    for number in range(8):
        event = await world.publish(entry=f"e{number}")
        record = await world.delivered(event, "email", GUARD)
        assert record.state is DeliveryState.SENT

    async def often() -> bool:
        """Tell whether the other one was tried so often that a server would count as down."""
        metrics = (await world.status()).get("metrics", {})
        return float(metrics.get('aegis_deliveries_total{channel="email",state="retried"}', 0)) > 2 * FAILURES

    await until(often, "the other address was tried again and again")
    assert (await world.status())["metrics"]['aegis_delivery_waiting_seconds{channel="email"}'] > 1
    assert "seems to be down" not in world.log.read_text()


async def test_a_hundred_alerts_reach_both_of_two_once(world: World, sink: MailServer) -> None:
    world.configure({"email": world.mail_to(insecure(sink), GUARD, CHIEF)})
    await world.start()
    events = await asyncio.gather(*(world.publish(entry=f"e{n}") for n in range(100)))
    await until(lambda: len(sink.mails) >= 200, "all mails are there", 30.0)
    await until(world.idle, "nothing is left to do")
    for to in (GUARD, CHIEF):
        expected = {
            f"<{core.repeat_id(e.id, Contact(person='', name='', channel='email', address=to).token)}@north.example>"
            for e in events
        }
        assert {str(mail["Message-ID"]) for mail in sink.of(to)} == expected
    assert len(sink.mails) == 200


async def test_settings_that_cannot_work_are_refused_without_telling_the_password(world: World) -> None:
    world.configure({"email": world.mail_to("smtp+insecure://aegis:hush@mail.example.org", GUARD)})
    with pytest.raises(AssertionError, match="use smtps:// or smtp://") as caught:
        await world.start()
    assert "hush" not in str(caught.value)
    assert await asyncio.to_thread(world.returncode) == 2
