"""The public interface as an AsyncAPI 3.0 document, derived from the events' types and the bus's subjects.

It describes what an integrator's program does: it connects to the bus by NATS or MQTT, or is called by a webhook, and
receives.
"""

import re
from dataclasses import dataclass
from typing import Any

from aegis.contracts import alerts, cap, cloudevents, deliveries, onvif, reviews, schemas, subjects
from aegis.contracts.schemas import EVENTS, PublicEvent

VERSION = "1.0.0"
"""Of the interface: the second number grows with what is added. What breaks a reader is another interface."""
PARAMETERS = {
    "site": "The site's id.",
    "category": "Why the person is on the list.",
    "entry": "The person's id on the list.",
    "camera": "The camera's id.",
    "source": "`&` and the camera's id.",
    "rule": "The category; `drill-` before it in a drill.",
}
CHANGES = (
    "Fields, types and values of enumerations may be added: pass over what you do not know. Anything else becomes v2, "
    "on new subjects."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A kind of message as it stands on the bus."""

    name: str
    title: str
    means: str
    content_type: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A family of subjects, its parts in braces, and the stream that keeps what is told there."""

    name: str
    address: str
    stream: str
    means: str
    messages: tuple[Message, ...]

    @property
    def filter(self) -> str:
        """The subject with ``*`` for each part."""
        return re.sub(r"\{\w+\}", "*", self.address)

    @property
    def parameters(self) -> list[str]:
        """The names of its parts."""
        return re.findall(r"\{(\w+)\}", self.address)


def _cloudevent(event: PublicEvent) -> Message:
    return Message(
        name=event.name,
        title=event.title,
        means=event.means,
        content_type=cloudevents.CONTENT_TYPE,
        payload=schemas.envelope(event, {"$ref": f"#/components/schemas/{event.data.__name__}"}),
    )


def _chosen(*prefixes: str) -> tuple[Message, ...]:
    return tuple(_cloudevent(event) for event in EVENTS if event.name.startswith(prefixes))


_CAP = Message(
    name="cap.alert",
    title="cap.alert",
    means="An alert, an update or a cancellation in the Common Alerting Protocol 1.2.",
    content_type=cap.CONTENT_TYPE,
    payload={"type": "string", "contentMediaType": cap.CONTENT_TYPE, "description": f"XML of {cap.NAMESPACE}."},
)
_FACE = Message(
    name="onvif.face",
    title="onvif.face",
    means="A sighting as a face recognition event of ONVIF Profile M.",
    content_type=onvif.CONTENT_TYPE,
    payload=schemas.face(),
)
CHANNELS = (
    Channel(
        name="alerts",
        address=subjects.alert("{site}", "{category}", "{entry}"),
        stream=subjects.ALERTS,
        means="The stories of alerts: all about one person of the list at one site stands on one subject, in order.",
        messages=_chosen("aegis.alert."),
    ),
    Channel(
        name="cameras",
        address=subjects.camera("{site}", "{camera}"),
        stream=subjects.CAMERAS,
        means="Cameras that deliver, or do not.",
        messages=_chosen("aegis.camera."),
    ),
    Channel(
        name="cap",
        address=subjects.cap("{site}", "{category}", "{entry}"),
        stream=subjects.CAP,
        means="The stories of alerts in the Common Alerting Protocol.",
        messages=(_CAP,),
    ),
    Channel(
        name="onvif",
        address=subjects.onvif("{site}", "{source}", "{rule}").replace("&{source}", "{source}"),
        stream=subjects.ONVIF,
        means="Sightings as face recognition events of ONVIF Profile M.",
        messages=(_FACE,),
    ),
)
WEBHOOK = _chosen(alerts.RAISED, *reviews.EVENT_TYPES, deliveries.TEST)
"""What is posted to webhooks."""


def _texts(meanings: dict[str, str]) -> dict[str, Any]:
    return {name: {"type": "string", "description": says} for name, says in meanings.items()}


_BUS_HEADERS = _texts({"Nats-Msg-Id": "Names the message: the `id` of the event that it tells. A repeat has the same."})
_SIGNED = _texts(
    {
        "webhook-id": "The name of this event to this receiver; a repeat has the same.",
        "webhook-timestamp": "When it was posted, in seconds since the epoch. Drop what is older than five minutes.",
        "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, joined by dots.",
    }
)
_WEBHOOK_HEADERS = {
    "type": "object",
    "required": ["content-type", *_SIGNED],
    "properties": {"content-type": {"const": cloudevents.CONTENT_TYPE}, **_SIGNED},
}


def document() -> dict[str, Any]:
    """Give the document as plain values."""
    every = {message.title: message for channel in CHANNELS for message in channel.messages}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Aegis: events for integrators",
            "version": VERSION,
            "description": f"CloudEvents 1.0 in structured JSON, on a bus or posted to a webhook. {CHANGES}",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": cloudevents.CONTENT_TYPE,
        "servers": _SERVERS,
        "channels": {
            **{channel.name: _nats(channel) for channel in CHANNELS},
            **{f"mqtt-{channel.name}": _mqtt(channel) for channel in CHANNELS},
            "webhook": _webhook(),
        },
        "operations": {
            **{f"receive-{channel.name}": _operation(channel.name, channel, "nats") for channel in CHANNELS},
            **{
                f"receive-mqtt-{channel.name}": _operation(f"mqtt-{channel.name}", channel, "mqtt")
                for channel in CHANNELS
            },
            "receive-webhook": {
                "action": "receive",
                "channel": _reference("channels", "webhook"),
                "summary": "An alert, and to those who were told of it all that becomes of it, but no sightings.",
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            },
        },
        "components": {
            "messages": {
                **{title: {**_message(message), "headers": _headers(message)} for title, message in every.items()},
                **{_plain(title): _message(message) | _payload_of(title) for title, message in every.items()},
            },
            "messageTraits": {"webhook": {"headers": _WEBHOOK_HEADERS}},
            "schemas": {kind.__name__: schemas.data_schema(kind) for kind in schemas.KINDS},
            "securitySchemes": _SECURITY,
        },
    }


_SECURITY = {
    "nkey": {
        "type": "asymmetricEncryption",
        "description": "An Ed25519 key (nkey) signs the server's nonce: `bus/keys/integrator.nk`.",
    },
    "password": {
        "type": "userPassword",
        "description": "The user `integrator`, with the password in `bus/keys/mqtt.password`.",
    },
}
_SERVERS = {
    "bus": {
        "host": "127.0.0.1:{port}",
        "protocol": "nats",
        "description": (
            "NATS with JetStream, by TLS alone: trust `bus/ca.pem` of the state directory. Ask for inboxes below "
            "`_INBOX_integrator`. The port stands in `running.json` of the state directory."
        ),
        "variables": {"port": {"description": "Kept from one start to the next where it is free."}},
        "security": [{"$ref": "#/components/securitySchemes/nkey"}],
    },
    "mqtt": {
        "host": "{listen}",
        "protocol": "secure-mqtt",
        "protocolVersion": "3.1.1",
        "description": "MQTT, if the site file has it listen, by TLS alone: trust `bus/mqtt/ca.pem`. QoS 0; no replay.",
        "variables": {"listen": {"description": "Address and port of the site file's `mqtt`."}},
        "security": [{"$ref": "#/components/securitySchemes/password"}],
    },
    "receiver": {
        "host": "{receiver}",
        "protocol": "https",
        "description": "Your own web server, as the site file names it under `webhooks`.",
        "variables": {"receiver": {"description": "Its host and port."}},
    },
}


def _reference(*path: str) -> dict[str, str]:
    return {"$ref": "/".join(("#", *path))}


def _nats(channel: Channel) -> dict[str, Any]:
    return {
        "address": channel.address,
        "title": channel.name,
        "description": f"{channel.means} Kept in the stream `{channel.stream}`, from which it can be replayed.",
        "servers": [_reference("servers", "bus")],
        "parameters": {name: {"description": PARAMETERS[name]} for name in channel.parameters},
        "messages": {m.title: _reference("components", "messages", m.title) for m in channel.messages},
        "x-jetstream-stream": channel.stream,
    }


def _mqtt(channel: Channel) -> dict[str, Any]:
    return {
        "address": channel.address.replace(".", "/"),
        "title": f"{channel.name}, by MQTT",
        "description": channel.means,
        "servers": [_reference("servers", "mqtt")],
        "parameters": {name: _reference("channels", channel.name, "parameters", name) for name in channel.parameters},
        # MQTT 3.1.1 has no headers.
        "messages": {m.title: _reference("components", "messages", _plain(m.title)) for m in channel.messages},
    }


def _webhook() -> dict[str, Any]:
    signed = [_reference("components", "messageTraits", "webhook")]
    return {
        "address": None,
        "title": "webhook",
        "description": "Signed as Standard Webhooks 1.0 say. Answer 2xx within five seconds.",
        "servers": [_reference("servers", "receiver")],
        "messages": {message.title: {**_message(message), "traits": signed} for message in WEBHOOK},
    }


def _operation(name: str, channel: Channel, protocol: str) -> dict[str, Any]:
    binding = {"bindingVersion": "0.1.0"} if protocol == "nats" else {"qos": 0, "bindingVersion": "0.2.0"}
    return {
        "action": "receive",
        "channel": _reference("channels", name),
        "summary": channel.means,
        "messages": [_reference("channels", name, "messages", message.title) for message in channel.messages],
        "bindings": {protocol: binding},
    }


def _plain(title: str) -> str:
    return f"mqtt.{title}"


def _payload_of(title: str) -> dict[str, Any]:
    return {"payload": _reference("components", "messages", title, "payload")}


def _headers(message: Message) -> dict[str, Any]:
    content_type = {"content-type": {"const": message.content_type}}
    return {"type": "object", "required": list(content_type), "properties": {**content_type, **_BUS_HEADERS}}


def _message(message: Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "title": message.title,
        "summary": message.means,
        "contentType": message.content_type,
        "payload": message.payload,
    }
