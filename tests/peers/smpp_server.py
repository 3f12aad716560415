"""An SMS centre for the tests, which can throttle, refuse, hold back, drop the line, and give receipts.

Its PDUs are coded by aiosmpplib, which is independent of our own code.
"""

import asyncio
import contextlib
import ssl
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from aiosmpplib import protocol
from aiosmpplib.state import NPI, TON, OptionalParam, PhoneNumber, SmppCommand, SmppCommandStatus

RECEIPTED_MESSAGE_ID, MESSAGE_STATE = 0x001E, 0x0427
Drop = Literal["before", "after"]


@dataclass
class SmppServer:
    """Start it, read ``messages``; set the other fields to make it difficult."""

    login: tuple[str, str] = ("aegis", "pw")
    tls: ssl.SSLContext | None = None
    port: int = 0
    id_format: str = "{}"
    """How the answer to a message writes its number."""
    first_id: int = 1
    answers: deque[SmppCommandStatus] = field(default_factory=deque)
    """What to answer the next messages with; all others are taken."""
    bind_status: SmppCommandStatus = SmppCommandStatus.ESME_ROK
    drop: Drop | None = None
    """Drop the line once: when a message has come ``before`` it is answered, or right ``after``."""
    holding: bool = False
    """Take messages but answer only when :meth:`release` is called."""
    deaf: bool = False
    """Say nothing more, to anything."""
    messages: list[Any] = field(default_factory=list)
    """What was taken, as aiosmpplib reads it."""
    binds: int = 0
    unbinds: int = 0
    enquiries: int = 0
    delivery_answers: list[int] = field(default_factory=list)
    most_unanswered: int = 0
    _held: list[tuple[asyncio.StreamWriter, Any]] = field(default_factory=list)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _bound: asyncio.StreamWriter | None = None
    _server: asyncio.Server | None = None
    _sequence: int = 1000

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.disconnect()

    def disconnect(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @property
    def bound(self) -> bool:
        return self._bound is not None

    def release(self) -> None:
        self.holding = False
        for writer, message in self._held:
            self._answer(writer, message)
        self._held.clear()

    def send(self, pdu: bytes) -> None:
        """Send bytes to the bound client, whatever they are."""
        assert self._bound is not None
        self._bound.write(pdu)

    def unbind(self) -> None:
        self.send(protocol.Unbind(self._next()).pdu())

    def receipt(self, text: str, number: str, *options: OptionalParam, esm_class: int = 4) -> None:
        """Deliver a receipt with this text for a message to ``number``."""
        message = protocol.DeliverSm(
            sequence_num=self._next(),
            short_message=text,
            source=PhoneNumber(number, TON.INTERNATIONAL, NPI.ISDN),
            destination=PhoneNumber("Aegis", TON.ALPHANUMERIC, NPI.UNKNOWN),
            esm_class=esm_class,
            optional_params=list(options),
        )
        self.send(message.pdu())

    def enquire(self) -> None:
        self.send(protocol.EnquireLink(self._next()).pdu())

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    head = await reader.readexactly(protocol.PDU_HEADER_LENGTH)
                    rest = await reader.readexactly(struct.unpack("!I", head[:4])[0] - len(head))
                    self._handle(writer, head + rest)
        finally:
            self._writers.discard(writer)
            if self._bound is writer:
                self._bound = None
            writer.close()

    def _handle(self, writer: asyncio.StreamWriter, pdu: bytes) -> None:
        header = protocol.SmppMessage.parse_header(pdu)
        if self.deaf:
            return
        message = protocol.MESSAGE_TYPE_MAP[header.smpp_command].from_pdu(pdu, header, "gsm0338")
        sequence = header.sequence_num
        match header.smpp_command:
            case SmppCommand.BIND_TRANSCEIVER:
                self._bind(writer, message)
            case SmppCommand.SUBMIT_SM:
                self._submit(writer, message)
            case SmppCommand.ENQUIRE_LINK:
                self.enquiries += 1
                writer.write(protocol.EnquireLinkResp(sequence).pdu())
            case SmppCommand.UNBIND:
                self.unbinds += 1
                writer.write(protocol.UnbindResp(sequence).pdu())
            case SmppCommand.DELIVER_SM_RESP | SmppCommand.ENQUIRE_LINK_RESP | SmppCommand.GENERIC_NACK:
                self.delivery_answers.append(header.command_status)

    def _bind(self, writer: asyncio.StreamWriter, message: Any) -> None:
        self.binds += 1
        right = (message.system_id, message.password) == self.login
        status = self.bind_status if right else SmppCommandStatus.ESME_RINVPASWD
        writer.write(protocol.BindTransceiverResp(message.sequence_num, status, "peer").pdu())
        if status == SmppCommandStatus.ESME_ROK:
            self._bound = writer

    def _submit(self, writer: asyncio.StreamWriter, message: Any) -> None:
        if self.drop == "before":
            self.drop = None
            self.messages.append(message)
            writer.transport.abort()
        elif self.holding:
            self._held.append((writer, message))
            self.most_unanswered = max(self.most_unanswered, len(self._held))
        else:
            self._answer(writer, message)

    def _answer(self, writer: asyncio.StreamWriter, message: Any) -> None:
        status = self.answers.popleft() if self.answers else SmppCommandStatus.ESME_ROK
        identity = ""
        if status == SmppCommandStatus.ESME_ROK:
            identity = self.id_format.format(self.first_id + len(self.messages))
            self.messages.append(message)
        writer.write(
            protocol.SubmitSmResp(message_id=identity, sequence_num=message.sequence_num, command_status=status).pdu()
        )
        if self.drop == "after":
            self.drop = None
            writer.close()
