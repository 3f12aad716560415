"""Delivery receipts of SMPP: what one says, and of which message it speaks. Pure."""

import re
from dataclasses import dataclass

from aegis.contracts.deliveries import DeliveryState
from aegis.notify import core
from aegis.notify.smpp_pdu import Delivered

MESSAGE_TYPE, RECEIPT_TYPE = 0b0011_1100, 0b0000_0100
"""Where the class of a message says that it is a receipt (5.2.12)."""
RECEIPTED_MESSAGE_ID, NETWORK_ERROR_CODE, MESSAGE_PAYLOAD, MESSAGE_STATE = 0x001E, 0x0423, 0x0424, 0x0427
STATES = ("", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD")
"""The values of the option ``message_state`` (5.2.28), as they are written in a text (appendix B)."""
ENDS = {
    "DELIVRD": DeliveryState.DELIVERED,
    **dict.fromkeys(("EXPIRED", "DELETED", "UNDELIV", "REJECTD"), DeliveryState.FAILED),
}
"""What is final and certain; the other states say nothing that is not known already."""
REMEMBERED = 10_000
SAME_NUMBER_DIGITS = 7

_FIELD = re.compile(r"(?:^|\s)(id|stat|err):\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a receipt says: the message by the ids that it gives, to which number it went, and how that ended.

    ``state`` is None where nothing has come to an end.
    """

    ids: tuple[str, ...]
    number: str
    state: DeliveryState | None
    detail: str


def read(delivered: Delivered) -> Report | None:
    """Read a receipt from its options and its text, whose form is each provider's own (appendix B); None if it is none.

    Options go first: a text may be cut, or be of the message itself.
    """
    if delivered.esm_class & MESSAGE_TYPE != RECEIPT_TYPE:
        return None
    options = delivered.options
    text = (delivered.message or options.get(MESSAGE_PAYLOAD, b"")).decode("latin-1")
    head = re.split(r"\stext:", text, maxsplit=1, flags=re.IGNORECASE)[0]
    fields = {name.lower(): value for name, value in _FIELD.findall(head)}
    named = options.get(RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("latin-1")
    value = int.from_bytes(options.get(MESSAGE_STATE, b""))
    state = (STATES[value] if value < len(STATES) else "") or fields.get("stat", "").upper()
    error = fields.get("err", "") or options.get(NETWORK_ERROR_CODE, b"")[1:].hex()
    return Report(
        ids=tuple(dict.fromkeys(filter(None, (named, fields.get("id", ""))))),
        number=delivered.source,
        state=ENDS.get(state),
        detail=core.detail(f"{state} err:{error}" if error else state),
    )


class Ids:
    """The ids that the provider gave for what it took lately, to find the one that a receipt means.

    Some providers answer with a decimal number and write the same number in hexadecimal, or with zeros before it, in
    the receipt. Numbers are compared in both readings only where the id as it stands is not known, and only with a
    message to the same telephone number, so that a chance likeness tells nothing false.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def remember(self, message_id: str, number: str) -> None:
        """Take note of a message that was taken, and to which number it goes."""
        self._numbers[message_id] = number
        if len(self._numbers) > REMEMBERED:
            del self._numbers[next(iter(self._numbers))]

    def find(self, report: Report) -> str:
        """Give the id as the provider gave it first; what is not known, as before a restart, as it stands."""
        exact = next((given for given in report.ids if given in self._numbers), None)
        if exact is not None:
            return exact
        values = {value for given in report.ids for value in _readings(given)}
        same = report.number[-SAME_NUMBER_DIGITS:]
        alike = (
            message_id
            for message_id, number in reversed(self._numbers.items())
            if number[-SAME_NUMBER_DIGITS:] == same and values & _readings(message_id)
        )
        return next(alike, report.ids[0] if report.ids else "")


def _readings(message_id: str) -> set[int]:
    if not re.fullmatch(r"[0-9A-Fa-f]{1,32}", message_id):
        return set()
    return {int(message_id, base) for base in ((10, 16) if message_id.isdecimal() else (16,))}
