"""SMPP as bytes: what we write another library reads, what it writes we read, and nothing that comes can surprise."""

import datetime as dt

import pytest
from aiosmpplib import protocol
from aiosmpplib.state import NPI, TON, OptionalParam, PhoneNumber
from hypothesis import given
from hypothesis import strategies as st

from aegis.notify import smpp_pdu, smpp_receipts, sms_words
from aegis.notify.smpp_pdu import Command, Pdu, PduError, Status
from aegis.notify.smpp_receipts import Ids, Report

ALPHABET = sorted(sms_words.BASIC | sms_words.EXTENSION)
WORDS = st.text(ALPHABET, min_size=1, max_size=120)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
NUMBERS = st.from_regex(r"\+[1-9][0-9]{6,13}", fullmatch=True)
RECEIPTED_MESSAGE_ID = 0x001E


def theirs(pdu: bytes) -> protocol.SmppMessage:
    header = protocol.SmppMessage.parse_header(pdu)
    return protocol.MESSAGE_TYPE_MAP[header.smpp_command].from_pdu(pdu, header, "gsm0338")


@given(WORDS, NUMBERS, st.integers(1, 0x7FFFFFFF))
def test_a_message_is_read_by_another_library(text: str, number: str, sequence: int) -> None:
    source, to = smpp_pdu.sender("Aegis"), smpp_pdu.international(number)
    body = smpp_pdu.submit_sm(source, to, smpp_pdu.gsm(text), 93_784.5)

    read = theirs(Pdu(Command.SUBMIT_SM, sequence, body=body).encode())

    assert (read.sequence_num, read.short_message) == (sequence, text)
    assert (read.destination.number, read.destination.ton, read.destination.npi) == (number[1:], 1, 1)
    assert (read.source.number, read.source.ton, read.registered_delivery) == ("Aegis", TON.ALPHANUMERIC, 1)
    assert read.validity_period == dt.timedelta(seconds=93_785)


@given(WORDS)
def test_a_byte_is_a_septet(text: str) -> None:
    assert len(smpp_pdu.gsm(text)) == sms_words.septets(text)


def test_what_the_alphabet_lacks_is_seen_to_be_missing() -> None:
    assert smpp_pdu.gsm("a\u4e2d\x1bb") == b"a??b"


@given(ASCII, ASCII)
def test_a_bind_is_read_by_another_library(user: str, password: str) -> None:
    body = smpp_pdu.bind_transceiver(user, password)
    read = theirs(Pdu(Command.BIND_TRANSCEIVER, 1, body=body).encode())
    assert (read.system_id, read.password, read.interface_version) == (user, password, 0x34)


@given(WORDS, ASCII, NUMBERS, st.integers(0, 255))
def test_a_delivery_of_another_library_is_read(text: str, message_id: str, number: str, esm_class: int) -> None:
    pdu = protocol.DeliverSm(
        sequence_num=5,
        short_message=text,
        source=PhoneNumber(number[1:], TON.INTERNATIONAL, NPI.ISDN),
        destination=PhoneNumber("Aegis", TON.ALPHANUMERIC, NPI.UNKNOWN),
        esm_class=esm_class,
        optional_params=[OptionalParam(RECEIPTED_MESSAGE_ID, message_id)],
    ).pdu()

    head, length = smpp_pdu.parse_header(pdu[: smpp_pdu.HEADER_BYTES])
    read = smpp_pdu.parse_deliver_sm(pdu[smpp_pdu.HEADER_BYTES :])

    assert (head.command, head.sequence, length) == (Command.DELIVER_SM, 5, len(pdu) - smpp_pdu.HEADER_BYTES)
    assert (read.source, read.esm_class, read.message) == (number[1:], esm_class, smpp_pdu.gsm(text))
    assert read.options[RECEIPTED_MESSAGE_ID].rstrip(b"\0") == message_id.encode()


@given(st.binary(max_size=120))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        read = smpp_pdu.parse_deliver_sm(body)
    except PduError:
        return
    smpp_receipts.read(read)


@given(st.binary(max_size=80), st.dictionaries(st.sampled_from([0x1E, 0x423, 0x424, 0x427]), st.binary(max_size=70)))
def test_any_receipt_is_read(message: bytes, options: dict[int, bytes]) -> None:
    report = smpp_receipts.read(smpp_pdu.Delivered("1", smpp_receipts.RECEIPT_TYPE, message, options))
    assert report is not None
    assert all(report.ids)
    Ids().find(report)


@given(st.binary(min_size=16, max_size=16))
def test_any_header_is_read_or_refused(header: bytes) -> None:
    try:
        pdu, length = smpp_pdu.parse_header(header)
    except PduError:
        assert not 16 <= int.from_bytes(header[:4]) <= smpp_pdu.LONGEST_PDU
    else:
        assert Pdu(pdu.command, pdu.sequence, pdu.status, bytes(length)).encode()[:16] == header


@pytest.mark.parametrize(
    ("name", "number", "ton", "npi"),
    [
        ("+4930123456", "4930123456", 1, 1),
        ("Aegis", "Aegis", 5, 0),
        ("North 1", "North 1", 5, 0),
        ("80808", "80808", 3, 0),
    ],
)
def test_senders(name: str, number: str, ton: int, npi: int) -> None:
    assert smpp_pdu.sender(name) == smpp_pdu.Address(number, ton, npi)


@pytest.mark.parametrize("number", ["", "+", "+49 30 123", "guard", "+1234567890123456", "+12٣4567"])
def test_what_is_no_number(number: str) -> None:
    with pytest.raises(ValueError, match="no telephone number") as caught:
        smpp_pdu.international(number)
    assert "guard" not in str(caught.value)


def test_an_sms_that_is_too_long_is_refused() -> None:
    address = smpp_pdu.international("+4930123456")
    with pytest.raises(ValueError, match="255"):
        smpp_pdu.submit_sm(address, address, bytes(255), 600)


def test_statuses_are_named() -> None:
    assert smpp_pdu.name_status(Status.RTHROTTLED) == "ESME_RTHROTTLED (0x58)"
    assert smpp_pdu.name_status(0x405) == "(0x405)"


def test_a_cut_text_takes_nothing_from_the_message_itself() -> None:
    text = b"id:7 sub:001 dlvrd:001 stat:DELIVRD err:000 Text:id:8 stat:UNDELIV err:1"
    report = smpp_receipts.read(smpp_pdu.Delivered("1", smpp_receipts.RECEIPT_TYPE, text, {}))
    assert report is not None
    assert (report.ids, report.detail) == (("7",), "DELIVRD err:000")


def report(*ids: str, number: str = "15550001234") -> Report:
    return Report(ids=ids, number=number, state=None, detail="")


def test_an_id_as_it_stands_goes_before_one_in_another_base() -> None:
    known = Ids()
    known.remember("16", "15550001234")
    known.remember("10", "15550001234")
    assert known.find(report("10")) == "10"
    assert known.find(report("0x", "16")) == "16"
    assert known.find(report("a")) == "10"
    assert known.find(report("b")) == "b"
    assert not known.find(report())


def test_only_so_many_ids_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp_receipts, "REMEMBERED", 2)
    known = Ids()
    for one in ("10", "11", "12"):
        known.remember(one, "15550001234")
    assert known.find(report("00010")) == "00010"
    assert known.find(report("00011")) == "11"
