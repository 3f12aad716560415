"""SMPP 3.4 as bytes: the few PDUs that handing over an SMS and hearing of it takes. Pure.

A PDU is a header of four 32-bit numbers (length, command, status, sequence) and a body. Section numbers are those of
the SMPP Protocol Specification v3.4, issue 1.2.
"""

import enum
import math
import struct
from dataclasses import dataclass

HEADER_BYTES = 16
LONGEST_PDU = 65_536 + 1024
"""The longest message payload and what stands around it; more than that is a line out of step."""
LONGEST_MESSAGE = 254
VERSION = 0x34
ONLY_FINAL_RECEIPT = 1
IN_GSM_ALPHABET = 0

GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet of 3GPP TS 23.038, 6.2.1, by its codes; 0x1B leads to ..."""
GSM_EXTENSION = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E,
                 "|": 0x40, "€": 0x65}  # fmt: skip
"""... its extension, 6.2.1.1."""
ESCAPE = "\x1b"
_GSM_CODES = {
    **{character: bytes([code]) for code, character in enumerate(GSM) if character != ESCAPE},
    **{character: bytes([GSM.index(ESCAPE), code]) for character, code in GSM_EXTENSION.items()},
}

_HEADER = struct.Struct("!IIII")


class PduError(ValueError):
    """These bytes are no PDU of SMPP."""


class Command(enum.IntEnum):
    """What a PDU asks (5.1.2.1); its answer has the highest bit set."""

    GENERIC_NACK = 0x8000_0000
    SUBMIT_SM = 0x0000_0004
    SUBMIT_SM_RESP = 0x8000_0004
    DELIVER_SM = 0x0000_0005
    DELIVER_SM_RESP = 0x8000_0005
    UNBIND = 0x0000_0006
    UNBIND_RESP = 0x8000_0006
    BIND_TRANSCEIVER = 0x0000_0009
    BIND_TRANSCEIVER_RESP = 0x8000_0009
    ENQUIRE_LINK = 0x0000_0015
    ENQUIRE_LINK_RESP = 0x8000_0015


class Status(enum.IntEnum):
    """The answers (5.1.3) that make a difference here."""

    OK = 0x00
    RINVMSGLEN = 0x01
    RINVCMDID = 0x03
    RSYSERR = 0x08
    RINVSRCADR = 0x0A
    RINVDSTADR = 0x0B
    RBINDFAIL = 0x0D
    RINVPASWD = 0x0E
    RINVSYSID = 0x0F
    RMSGQFUL = 0x14
    RINVSRCTON = 0x48
    RINVSRCNPI = 0x49
    RINVDSTTON = 0x50
    RINVDSTNPI = 0x51
    RTHROTTLED = 0x58
    RX_T_APPN = 0x64


def name_status(status: int) -> str:
    """Name an answer for people: ``ESME_RTHROTTLED (0x58)``, or the number alone where providers have their own."""
    known = f"ESME_{Status(status).name} " if status in set(Status) else ""
    return f"{known}(0x{status:02X})"


@dataclass(frozen=True, slots=True)
class Pdu:
    """One PDU. ``command`` may be one that :class:`Command` does not know."""

    command: int
    sequence: int
    status: int = 0
    body: bytes = b""

    @property
    def answers(self) -> bool:
        """Whether it is an answer."""
        return bool(self.command & Command.GENERIC_NACK)

    def encode(self) -> bytes:
        """Give it as it goes over the line."""
        return _HEADER.pack(HEADER_BYTES + len(self.body), self.command, self.status, self.sequence) + self.body


def parse_header(header: bytes) -> tuple[Pdu, int]:
    """Read 16 bytes as a PDU that still lacks its body, and how many bytes that has.

    Raises:
        PduError: no PDU has that length.

    """
    length, command, status, sequence = _HEADER.unpack(header)
    if not HEADER_BYTES <= length <= LONGEST_PDU:
        raise PduError(f"a PDU of {length} bytes")
    return Pdu(command, sequence, status), length - HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Address:
    """Who sends or gets it, with its type of number (5.2.5) and its numbering plan (5.2.6)."""

    number: str
    ton: int
    npi: int


def international(number: str) -> Address:
    """Read a telephone number as E.164, with or without its ``+``.

    Raises:
        ValueError: it is none; the text does not repeat it.

    """
    digits = number.removeprefix("+")
    if not (digits.isascii() and digits.isdecimal() and 3 <= len(digits) <= 15):  # noqa: PLR2004 - E.164
        raise ValueError("no telephone number in international form, as +4930123456")
    return Address(digits, ton=1, npi=1)


def sender(name: str) -> Address:
    """Read what an SMS is to come from: a number in international form with its ``+``, a short code, or a name.

    Raises:
        ValueError: it is none of them.

    """
    if name.startswith("+"):
        return international(name)
    if not 1 <= len(name) <= 11 or not name.isascii() or not name.isprintable():  # noqa: PLR2004 - TS 23.040, 9.1.2.5
        raise ValueError(f"{name!r} is neither a telephone number nor a name of up to 11 characters")
    # A short code is the network's own; only a name is alphanumeric.
    return Address(name, ton=3, npi=0) if name.isdecimal() else Address(name, ton=5, npi=0)


def bind_transceiver(user: str, password: str) -> bytes:
    """Give the body of a request for a session that sends and receives (4.1.5).

    Raises:
        ValueError: one of them is not ASCII or has a NUL; the text does not repeat it.

    """
    return _c_string(user) + _c_string(password) + _c_string("") + bytes([VERSION, 0, 0]) + _c_string("")


def submit_sm(source: Address, to: Address, message: bytes, valid_for: float) -> bytes:
    """Give the body that hands an SMS over (4.4.1) and asks for a receipt when its fate is known.

    It is to be delivered within ``valid_for`` seconds (7.1.1.2: a relative time) or not at all.

    Raises:
        ValueError: the message has more than 254 bytes.

    """
    if len(message) > LONGEST_MESSAGE:
        raise ValueError(f"a message of {len(message)} bytes")
    days, seconds = divmod(max(1, math.ceil(valid_for)), 86_400)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    until = _c_string(f"0000{days:02}{hours:02}{minutes:02}{seconds % 60:02}000R")
    class_protocol_priority, at = bytes(3), _c_string("")
    coding = bytes([ONLY_FINAL_RECEIPT, 0, IN_GSM_ALPHABET, 0, len(message)])
    return _c_string("") + _address(source) + _address(to) + class_protocol_priority + at + until + coding + message


def gsm(text: str) -> bytes:
    """Write text in the GSM alphabet, a byte a septet; a character that it lacks becomes a question mark."""
    return b"".join(_GSM_CODES.get(character, b"?") for character in text)


def c_string(body: bytes) -> str:
    """Read text up to its NUL; empty where the body is."""
    return body.partition(b"\0")[0].decode("latin-1")


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a ``deliver_sm`` brings (4.6.1): of whom, of what class (5.2.12), the message, and its options by tag."""

    source: str
    esm_class: int
    message: bytes
    options: dict[int, bytes]


def parse_deliver_sm(body: bytes) -> Delivered:
    """Read the body of a ``deliver_sm``.

    Raises:
        PduError: it ends too early.

    """
    reader = _Reader(body)
    reader.c_string()
    reader.take(2)
    source = reader.c_string()
    reader.take(2)
    reader.c_string()
    esm_class = reader.take(3)[0]
    reader.c_string()
    reader.c_string()
    length = reader.take(5)[4]
    return Delivered(source, esm_class, reader.take(length), dict(reader.options()))


class _Reader:
    """Takes a body apart from its beginning."""

    def __init__(self, body: bytes) -> None:
        self._rest = body

    def take(self, count: int) -> bytes:
        if len(self._rest) < count:
            raise PduError("a body that ends too early")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def c_string(self) -> str:
        end = self._rest.find(b"\0")
        if end < 0:
            raise PduError("a text without its end")
        return self.take(end + 1)[:-1].decode("latin-1")

    def options(self) -> list[tuple[int, bytes]]:
        found = []
        while self._rest:
            tag, length = struct.unpack("!HH", self.take(4))
            found.append((tag, self.take(length)))
        return found


def _c_string(text: str) -> bytes:
    if not text.isascii() or "\0" in text:
        raise ValueError("SMPP takes ASCII alone")
    return text.encode() + b"\0"


def _address(address: Address) -> bytes:
    return bytes([address.ton, address.npi]) + _c_string(address.number)
