"""A stand-in for Twilio's Messages API over real HTTP, with the fields of its public reference and its signed reports.

It checks accounts, keeps and lists messages, and plays the answers that a test queues.
"""

import asyncio
import base64
import datetime as dt
import email.utils
import hashlib
import hmac
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web

Play = Literal["nonsense", "silent", "silent, but takes it", "breaks, but takes it"]
"""Answers that are none: something else than JSON; nothing at all, with or without taking the message; an end."""


@dataclass
class TwilioStub:
    """Start it, read ``messages``; queue ``answers``, after which it takes what it is given."""

    account: str = "AC" + "0123456789abcdef" * 2
    token: str = "12345-token"
    port: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Message resources, oldest first."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Method, and what was in the query or the form."""
    answers: deque[Play | tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=deque)
    prefix: str = ""
    """What a trial account writes before each text."""
    _callbacks: dict[str, str] = field(default_factory=dict)
    _held: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/2010-04-01/Accounts/{account}/Messages.json", self._messages)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._held.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def play(self, status: int, code: int | None = None, message: str = "", **headers: str) -> None:
        """Queue an answer with an error as Twilio writes it."""
        document = {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
        body = {**document, "status": status} if code else {}
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    async def report(self, sid: str, status: str, code: int | None = None, *, forged: bool = False) -> int:
        """Change a message's status and report it to the address that came with it; give the answer's status."""
        message = next(message for message in self.messages if message["sid"] == sid)
        message |= {"status": status, "error_code": code, "date_updated": _now()}
        form = {
            "SmsSid": sid, "SmsStatus": status, "MessageStatus": status, "MessageSid": sid,
            "To": message["to"], "From": message["from"], "AccountSid": self.account, "ApiVersion": "2010-04-01",
        }  # fmt: skip
        if code:
            form["ErrorCode"] = str(code)
        url = self._callbacks[sid]
        key = "another-token" if forged else self.token
        headers = {"X-Twilio-Signature": sign(key, url, form), "User-Agent": "TwilioProxy/1.1"}
        async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as response:
            return response.status

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append((request.method, form or dict(request.query)))
        expected = "Basic " + base64.b64encode(f"{self.account}:{self.token}".encode()).decode()
        if request.headers.get("Authorization") != expected or request.match_info["account"] != self.account:
            return web.json_response({"code": 20003, "message": "Authenticate", "status": 401}, status=401)
        match self.answers.popleft() if self.answers else None:
            case (int(status), dict(headers), dict(body)):
                return web.json_response(body, status=status, headers=headers)
            case "nonsense":
                return web.Response(text="<html>It works!", content_type="text/html")
            case str(play):
                if "takes" in play:
                    self._take(form)
                if "silent" in play:
                    await self._held.wait()
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        if request.method == "GET":
            return web.json_response(self._list(dict(request.query)))
        return web.json_response(self._take(form), status=201)

    def _take(self, form: dict[str, str]) -> dict[str, Any]:
        sid = f"SM{secrets.token_hex(16)}"
        message = {
            "account_sid": self.account, "api_version": "2010-04-01", "body": self.prefix + form["Body"],
            "date_created": _now(), "date_sent": None, "date_updated": _now(), "direction": "outbound-api",
            "error_code": None, "error_message": None, "from": form["From"], "messaging_service_sid": None,
            "num_media": "0", "num_segments": "1", "price": None, "price_unit": "USD", "sid": sid, "status": "queued",
            "subresource_uris": {"media": f"/2010-04-01/Accounts/{self.account}/Messages/{sid}/Media.json"},
            "to": form["To"], "uri": f"/2010-04-01/Accounts/{self.account}/Messages/{sid}.json",
        }  # fmt: skip
        self.messages.append(message)
        if "StatusCallback" in form:
            self._callbacks[sid] = form["StatusCallback"]
        return message

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        """Give the newest page."""
        size = int(query.get("PageSize", "50"))
        found = [
            message
            for message in reversed(self.messages)
            if query.get("To", message["to"]) == message["to"] and query.get("From", message["from"]) == message["from"]
        ]
        path = f"/2010-04-01/Accounts/{self.account}/Messages.json?PageSize={size}"
        return {
            "first_page_uri": f"{path}&Page=0", "next_page_uri": f"{path}&Page=1" if len(found) > size else None,
            "previous_page_uri": None, "page": 0, "page_size": size, "start": 0, "end": min(size, len(found)) - 1,
            "uri": f"{path}&Page=0", "messages": found[:size],
        }  # fmt: skip


def sign(token: str, url: str, form: dict[str, str]) -> str:
    """Sign as Twilio's reference says: the address, then each field's name and value in the order of the names."""
    text = url + "".join(f"{name}{form[name]}" for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def _now() -> str:
    return email.utils.format_datetime(dt.datetime.now(dt.UTC))
