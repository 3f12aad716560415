"""Reports of providers: only genuine ones are taken, and nothing else is served."""

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from tests.peers import twilio_stub

from aegis.contracts.deliveries import DeliveryState
from aegis.notify.channel import Receipt
from aegis.notify.kannel_channel import KannelReceipts
from aegis.notify.receipts import FORM, ForgedError, MalformedError, ReceiptServer
from aegis.notify.twilio_channel import TwilioReceipts, signature
from aegis.runtime.site_notify import KannelConfig, TwilioConfig

KEY = "t0k3n"
PUBLIC = "https://alerts.north.example"
TWILIO = TwilioReceipts(TwilioConfig(account="AC1", token=KEY, sender="+15550001111"), PUBLIC)
KANNEL = KannelReceipts(
    KannelConfig(url="https://sms.example", user="aegis", password="hush", sender="Aegis"), f"{PUBLIC}/a%20b/"
)
IDENTITY = "0f3c-a1b2"
NO_CHUNK = b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
FORM_OF_TWILIO = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+15551234501", "From": "+15550001111"}


def read_twilio(form: dict[str, str], *, url: str = TWILIO.url(IDENTITY), key: str = KEY) -> Receipt:
    headers = {"X-Twilio-Signature": twilio_stub.sign(key, url, form)}
    return TWILIO.read(IDENTITY, headers, list(form.items()))


def test_a_signature_that_twilio_s_own_library_gives_as_its_example() -> None:
    fields = [
        ("CallSid", "CA1234567890ABCDE"), ("Digits", "1234"), ("From", "+14158675309"), ("To", "+18005551212"),
        ("Caller", "+14158675309"),
    ]  # fmt: skip
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature(b"12345", url, fields) == b"RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("queued", DeliveryState.SENT), ("sending", DeliveryState.SENT), ("sent", DeliveryState.SENT),
        ("delivered", DeliveryState.DELIVERED), ("read", DeliveryState.DELIVERED),
        ("undelivered", DeliveryState.FAILED), ("failed", DeliveryState.FAILED), ("canceled", DeliveryState.FAILED),
        ("something new", DeliveryState.SENT),
    ],
)  # fmt: skip
def test_what_twilio_reports(status: str, state: DeliveryState) -> None:
    read = read_twilio({**FORM_OF_TWILIO, "MessageStatus": status, "ErrorCode": "30003"})
    detail = f"{status} 30003" if state is DeliveryState.FAILED else ""
    assert read == Receipt(state=state, identity=IDENTITY, provider_id="SM1", detail=detail)


def test_a_report_of_twilio_with_any_change_is_forged() -> None:
    genuine = twilio_stub.sign(KEY, TWILIO.url(IDENTITY), FORM_OF_TWILIO)
    fields = list(FORM_OF_TWILIO.items())
    changed = [(name, "failed" if name == "MessageStatus" else value) for name, value in fields]
    for headers, identity, given in (
        ({}, IDENTITY, fields),
        ({"X-Twilio-Signature": ""}, IDENTITY, fields),
        ({"X-Twilio-Signature": "é"}, IDENTITY, fields),
        ({"X-Twilio-Signature": genuine}, "0f3c-a1b3", fields),
        ({"X-Twilio-Signature": genuine}, IDENTITY, changed),
        ({"X-Twilio-Signature": genuine}, IDENTITY, fields[:-1]),
        ({"X-Twilio-Signature": genuine}, IDENTITY, [*fields, ("MessageStatus", "failed")]),
        ({"X-Twilio-Signature": base64.b64encode(bytes(20)).decode()}, IDENTITY, fields),
    ):
        with pytest.raises(ForgedError):
            TWILIO.read(identity, headers, given)
    with pytest.raises(ForgedError):
        read_twilio(FORM_OF_TWILIO, key="another")
    with pytest.raises(ForgedError):
        read_twilio(FORM_OF_TWILIO, url=TWILIO.url(IDENTITY).replace("https", "http"))


def test_twilio_may_sign_with_or_without_the_port() -> None:
    with_port = TWILIO.url(IDENTITY).replace(".example/", ".example:443/")
    assert read_twilio(FORM_OF_TWILIO, url=with_port).state is DeliveryState.DELIVERED


def test_a_report_of_twilio_that_says_nothing() -> None:
    for missing in ("MessageSid", "MessageStatus"):
        with pytest.raises(MalformedError):
            read_twilio({**FORM_OF_TWILIO, missing: ""})


def kannel_fields(**changes: str) -> list[tuple[str, str]]:
    """Fill an address in as Kannel does."""
    url = KANNEL.url(IDENTITY)
    signed = url.partition("?sig=")[2].partition("&")[0]
    return list(({"sig": signed, "status": "1", "answer": "", "id": "77"} | changes).items())


def test_the_address_for_kannel_holds_its_escapes_and_no_others() -> None:
    url = KANNEL.url(IDENTITY)
    assert url.startswith(f"{PUBLIC}/a%%20b/receipts/kannel/{IDENTITY}?sig=")
    assert url.endswith("&status=%d&answer=%A&id=%F")
    assert "hush" not in url


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("1", DeliveryState.DELIVERED), ("2", DeliveryState.FAILED), ("4", DeliveryState.SENT),
        ("8", DeliveryState.SENT), ("16", DeliveryState.FAILED),
    ],
)  # fmt: skip
def test_what_kannel_reports(status: str, state: DeliveryState) -> None:
    read = KANNEL.read(IDENTITY, {}, kannel_fields(status=status, answer="NACK/11/no +15551234501 here/"))
    detail = "NACK/11/no *** here" if state is DeliveryState.FAILED else ""
    assert read == Receipt(state=state, identity=IDENTITY, provider_id="77", detail=detail)


def test_a_report_to_an_address_that_was_not_given_out_is_forged() -> None:
    other = KANNEL.url("0f3c-a1b3").partition("?sig=")[2].partition("&")[0]
    for sig in ("", "é", other, "0" * 32):
        with pytest.raises(ForgedError):
            KANNEL.read(IDENTITY, {}, kannel_fields(sig=sig))


def test_a_report_of_kannel_that_says_nothing() -> None:
    for status in ("32", "-1", "", "%d", "x"):
        with pytest.raises(MalformedError):
            KANNEL.read(IDENTITY, {}, kannel_fields(status=status))


@dataclass
class Served:
    """A receipts server at work, what it took and what it counted."""

    url: str = ""
    taken: list[Receipt] = field(default_factory=list)
    problem: Exception | None = None
    counted: Counter[str] = field(default_factory=Counter)

    async def take(self, receipt: Receipt) -> None:
        if self.problem is not None:
            raise self.problem
        self.taken.append(receipt)

    def count(self, provider: str, outcome: str) -> None:
        self.counted[f"{provider} {outcome}"] += 1


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    server = ReceiptServer(host="127.0.0.1", port=0, take=made.take, validators=(TWILIO, KANNEL), count=made.count)
    async with server.serve():
        made.url = f"http://127.0.0.1:{server.port}"
        yield made


Send = Callable[..., Awaitable[int]]


@pytest.fixture
async def send(served: Served) -> AsyncIterator[Send]:
    """Send a request to the server and give the status of its answer."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

        async def request(method: str, path: str, **parameters: object) -> int:
            async with session.request(method, served.url + path, **parameters) as response:  # type: ignore[arg-type]
                assert await response.read() == b"" or response.status >= 400
                return response.status

        yield request


def signed(form: dict[str, str], identity: str = IDENTITY) -> dict[str, str]:
    return {"X-Twilio-Signature": twilio_stub.sign(KEY, TWILIO.url(identity), form)}


async def test_genuine_reports_are_taken(served: Served, send: Send) -> None:
    path = f"/receipts/twilio/{IDENTITY}"
    assert await send("POST", path, data=FORM_OF_TWILIO, headers=signed(FORM_OF_TWILIO)) == 200
    assert await send("GET", f"/receipts/kannel/{IDENTITY}", params=dict(kannel_fields(status="2", answer="é/"))) == 200
    assert served.taken == [
        Receipt(state=DeliveryState.DELIVERED, identity=IDENTITY, provider_id="SM1"),
        Receipt(state=DeliveryState.FAILED, identity=IDENTITY, provider_id="77", detail="é"),
    ]
    assert served.counted == {"twilio taken": 1, "kannel taken": 1}


async def test_forged_and_malformed_ones_are_refused_and_counted(served: Served, send: Send) -> None:
    path = f"/receipts/twilio/{IDENTITY}"
    forged = {"X-Twilio-Signature": "AAAA"}
    assert await send("POST", path, data=FORM_OF_TWILIO, headers=forged) == 403
    assert await send("POST", f"{path}?a=b", data=FORM_OF_TWILIO, headers={}) == 403
    assert await send("GET", f"/receipts/kannel/{IDENTITY}?sig=0&status=1") == 403
    assert await send("GET", f"/receipts/kannel/{IDENTITY}", params=dict(kannel_fields(status="x"))) == 400
    assert await send("POST", path, json=FORM_OF_TWILIO) == 400
    assert await send("POST", path, data=b"\xff=%ff", headers={"Content-Type": FORM}) == 400
    many = {f"f{number}": "x" for number in range(100)}
    assert await send("POST", path, data=many, headers=signed(many)) == 400
    squeezed = {"Content-Type": FORM, "Content-Encoding": "gzip"}
    assert await send("POST", path, data=b"no gzip", headers=squeezed) == 400
    large = {**FORM_OF_TWILIO, "Body": "x" * 20_000}
    assert await send("POST", path, data=large, headers=signed(large)) == 413
    assert served.taken == []
    assert served.counted == {
        "twilio forged": 2, "kannel forged": 1, "kannel malformed": 1, "twilio malformed": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /receipts/twilio/a HTTP/1.1\r\nHost: a\r\nContent-Type: " + FORM.encode() + NO_CHUNK,
    ],
)
async def test_what_is_no_http_fills_no_log(served: Served, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    caplog.set_level(logging.INFO)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(sent)
    assert b" 400 " in await reader.readline()
    writer.close()
    assert caplog.text == ""


async def test_what_is_not_known_or_cannot_be_taken(
    served: Served, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = f"/receipts/twilio/{IDENTITY}"
    served.problem = LookupError("+15551234501")
    assert await send("POST", path, data=FORM_OF_TWILIO, headers=signed(FORM_OF_TWILIO)) == 404
    served.problem = OSError("+15551234501")
    assert await send("POST", path, data=FORM_OF_TWILIO, headers=signed(FORM_OF_TWILIO)) == 503
    assert served.counted == {"twilio unknown": 1, "twilio failed": 1}
    assert IDENTITY in caplog.text
    assert "1234501" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/receipts", 404), ("GET", "/receipts/twilio/", 404),
        ("POST", "/receipts/smpp/0f3c", 404), ("GET", f"/receipts/twilio/{IDENTITY}", 405),
        ("POST", f"/receipts/kannel/{IDENTITY}", 405), ("HEAD", f"/receipts/kannel/{IDENTITY}", 405),
        ("POST", "/receipts/twilio/A", 404), ("POST", f"/receipts/twilio/{'a' * 65}", 404),
        ("POST", "/receipts/twilio/..%2f..%2fetc", 404), ("OPTIONS", "/receipts/twilio/a", 405),
    ],
)  # fmt: skip
async def test_nothing_else_is_served(served: Served, send: Send, method: str, path: str, status: int) -> None:
    assert await send(method, path) == status
    assert served.taken == []
