"""MQTT for video management and building systems: what they hear, what they may not do, and what they miss."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from tests.bus import until
from tests.integration.mqtt.conftest import PATIENCE, Clients, MqttServer

from aegis.contracts import subjects
from aegis.runtime import bus_server
from aegis.runtime.bus import Bus, ConflictError, Msg

ALERT = subjects.alert("north", "barred", "p1")
TOPIC = "aegis/v1/alert/north/barred/p1"
PUBLIC = (
    ALERT,
    subjects.camera("north", "lobby"),
    subjects.cap("north", "barred", "p1"),
    subjects.onvif("north", "lobby", "barred"),
)
INTERNAL = (
    "#",
    "+/#",
    "/#",
    "aegis/#",
    "aegis/v1/#",
    "+/v1/alert/#",
    "aegis/+/alert/#",
    "aegis/v1/frame/#",
    "aegis/v1/face/#",
    "aegis/v1/shadow/#",
    "aegis/v1/delivery/#",
    "aegis/v1/registry/#",
    "aegis/v1/dead/#",
    "$MQTT/#",
    "$MQTT/sub/#",
    "$JS/#",
    "$KV/#",
    "$SYS/#",
    "_INBOX_integrator/#",
    "aegis/copy/#",
)


def hello(client: str, *credentials: str) -> bytes:
    """Write the packet by which a client opens or resumes a session (MQTT 3.1.1, 3.1)."""
    texts = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in (client, *credentials))
    rest = b"\x00\x04MQTT\x04" + (b"\xc0" if credentials else b"\x00") + b"\x00\x3c" + texts
    return bytes((0x10, len(rest))) + rest


async def connect(server: MqttServer, packet: bytes) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a first packet over TLS and give the answer to it."""
    trust = ssl.create_default_context(cafile=str(server.files.mqtt_ca))
    reader, writer = await asyncio.open_connection(bus_server.HOST, server.port, ssl=trust)
    writer.write(packet)
    async with asyncio.timeout(PATIENCE):
        return await reader.readexactly(4), reader, writer


async def test_every_public_subject_is_a_topic(admin: Bus, clients: Clients) -> None:
    topics = ("aegis/v1/alert/#", "aegis/v1/camera/+/+", "aegis/v1/cap/north/+/+", "aegis/v1/onvif/+/onvif-ej/#")
    listener = await (await clients.listen(*topics)).subscribed()
    for subject in PUBLIC:
        await admin.store(subject, b"told")
    heard = await listener.until(len(PUBLIC))
    assert {message["topic"] for message in heard} == {subject.replace(".", "/") for subject in PUBLIC}
    assert {message["payload"] for message in heard} == {"told"}


async def test_a_topic_can_be_narrowed_to_site_category_and_person(admin: Bus, clients: Clients) -> None:
    listener = await (await clients.listen("aegis/v1/alert/north/barred/+")).subscribed()
    for subject in (subjects.alert("north", "staff", "p1"), subjects.alert("south", "barred", "p1"), ALERT):
        await admin.store(subject, subject.encode())
    assert [message["topic"] for message in await listener.until(1)] == [TOPIC]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_whatever_quality_is_asked_for_messages_come_once_at_most_and_unretained(
    admin: Bus, clients: Clients, qos: int
) -> None:
    listener = await (await clients.listen("aegis/v1/alert/#", qos=qos)).subscribed()
    await admin.store(ALERT, b"told")
    (message,) = await listener.until(1)
    assert (message["qos"], message["retain"]) == (0, 0)


async def test_what_the_stream_refused_or_had_already_is_not_heard(admin: Bus, clients: Clients) -> None:
    listener = await (await clients.listen("aegis/v1/alert/#")).subscribed()
    await admin.store(ALERT, b"first", message_id="1", expected_last=0)
    with pytest.raises(ConflictError):
        await admin.store(ALERT, b"refused", message_id="2", expected_last=0)
    await admin.store(ALERT, b"first", message_id="1")
    await admin.store(ALERT, b"last", message_id="3")
    assert [message["payload"] for message in await listener.until(2)] == ["first", "last"]


@pytest.mark.parametrize("topic", INTERNAL)
async def test_nothing_internal_can_be_subscribed_to(clients: Clients, topic: str) -> None:
    listener = await clients.listen(topic)
    await listener.ended()
    assert "Subscribed (mid: 1): 128" in listener.log
    assert "All subscription requests were denied." in listener.log


@pytest.mark.parametrize("changes", [{"P": "wrong"}, {"u": "admin"}, {"P": ""}, {"u": "nobody"}])
async def test_nobody_gets_in_without_the_password(clients: Clients, changes: dict[str, Any]) -> None:
    listener = await clients.listen("aegis/v1/alert/#", **changes)
    assert await listener.ended() != 0
    assert any("not authorised" in line for line in listener.log)


async def test_nobody_gets_in_without_a_name(server: MqttServer, admin: Bus) -> None:
    answer, _, writer = await connect(server, hello("x"))
    assert answer == b"\x20\x02\x00\x05"
    writer.close()


async def test_there_is_no_mqtt_without_tls(server: MqttServer, admin: Bus) -> None:
    reader, writer = await asyncio.open_connection(bus_server.HOST, server.port)
    writer.write(hello("x", bus_server.MQTT_USER, server.files.mqtt_password.read_text()))
    async with asyncio.timeout(PATIENCE):
        # At most an alert of TLS, whose kind is 21; an answer of MQTT would be of kind 32.
        assert (await reader.read())[:1] in (b"", b"\x15")
    writer.close()


async def test_a_client_that_trusts_another_authority_does_not_connect(server: MqttServer, clients: Clients) -> None:
    listener = await clients.listen("aegis/v1/alert/#", cafile=str(server.files.ca))
    assert await listener.ended() != 0
    assert any("certificate verify failed" in line for line in listener.log)


async def test_the_password_opens_nothing_but_mqtt(server: MqttServer, admin: Bus) -> None:
    with pytest.raises(nats.errors.Error):
        await nats.connect(
            server.files.url,
            tls=ssl.create_default_context(cafile=str(server.files.ca)),
            user=bus_server.MQTT_USER,
            password=server.files.mqtt_password.read_text(),
            allow_reconnect=False,
            max_reconnect_attempts=0,
        )


@pytest.mark.parametrize("options", [("-q", "0"), ("-q", "1"), ("-q", "2"), ("-r", "-q", "0"), ("-r", "-q", "1")])
async def test_nothing_can_be_published(
    admin: Bus, server: MqttServer, clients: Clients, options: tuple[str, ...]
) -> None:
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    async with server.connect("integrator") as integrator:
        await admin.subscribe("aegis.v1.>", hear)
        await integrator.subscribe("aegis.v1.alert.>", hear)
        listener = await (await clients.listen("aegis/v1/alert/#")).subscribed()
        for topic in (TOPIC, "aegis/v1/registry/remove-entry"):
            await clients.publish(topic, *options)
        late = await (await clients.listen("aegis/v1/alert/#")).subscribed()
        await admin.store(ALERT, b"true")
        assert [message["payload"] for message in await listener.until(1)] == ["true"]
        assert [message["payload"] for message in await late.until(1)] == ["true"]
    assert set(heard) == {b"true"}


async def test_a_last_will_is_not_published(admin: Bus, clients: Clients) -> None:
    listener = await (await clients.listen("aegis/v1/alert/#")).subscribed()
    will = ("--will-topic", TOPIC, "--will-payload", "forged", "--will-qos", "1")
    dying = await clients.listen("aegis/v1/camera/#", options=will)
    await dying.says("CONNACK")
    await dying.kill()
    await admin.store(ALERT, b"true")
    assert [message["payload"] for message in await listener.until(1)] == ["true"]


async def test_a_session_outlives_the_bus(server: MqttServer, admin: Bus, clients: Clients) -> None:
    listener = await (await clients.listen("aegis/v1/alert/#", qos=1, options=("-c",), i="panel")).subscribed()
    server.kill()
    await listener.ended()
    server.start()
    await until(lambda: admin.connected, "the bus is back")
    packet = hello("panel", bus_server.MQTT_USER, server.files.mqtt_password.read_text())
    answer, reader, writer = await connect(server, packet)
    # Accepted, with a session: it need not subscribe again.
    assert answer == b"\x20\x02\x01\x00"
    await admin.store(ALERT, b"after")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"after")).startswith(b"\x30")
    writer.close()


async def test_who_was_away_missed_what_was_told_even_with_a_session(admin: Bus, clients: Clients) -> None:
    first = await (await clients.listen("aegis/v1/alert/#", qos=1, options=("-c",), i="panel")).subscribed()
    await admin.store(ALERT, b"before")
    await first.until(1)
    await first.kill()
    await admin.store(ALERT, b"missed")
    again = await (await clients.listen("aegis/v1/alert/#", qos=1, options=("-c",), i="panel")).subscribed()
    await admin.store(ALERT, b"after")
    assert [message["payload"] for message in await again.until(1)] == ["after"]


def test_there_is_no_mqtt_unless_it_is_asked_for(tmp_path: Path) -> None:
    server = bus_server.prepare(tmp_path)
    assert "mqtt:" not in server.config.read_text()
    assert not server.mqtt_password.exists()
    assert not server.mqtt_ca.exists()


def test_secrets_are_the_owners_alone_and_stay_the_same(tmp_path: Path) -> None:
    server = bus_server.prepare(tmp_path, 4222, ("127.0.0.1", 8883))
    password, authority = server.mqtt_password.read_text(), server.mqtt_ca.read_bytes()
    assert len(password) == 32
    assert [path.stat().st_mode & 0o777 for path in (server.mqtt_password, server.config)] == [0o600, 0o600]
    bus_server.prepare(tmp_path, 4222, ("127.0.0.1", 8883))
    assert (server.mqtt_password.read_text(), server.mqtt_ca.read_bytes()) == (password, authority)


def test_another_address_has_another_certificate(tmp_path: Path) -> None:
    server = bus_server.prepare(tmp_path, 4222, ("127.0.0.1", 8883))
    authority = server.mqtt_ca.read_bytes()
    bus_server.prepare(tmp_path, 4222, ("10.0.0.5", 8883))
    assert server.mqtt_ca.read_bytes() != authority
    assert json.dumps("10.0.0.5") in server.config.read_text()
