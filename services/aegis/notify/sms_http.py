"""One request to an SMS provider over HTTP, and what its failures mean for what was to be handed over."""

import re
from dataclasses import dataclass
from typing import Any

import aiohttp

from aegis.notify import core
from aegis.notify.core import TryAgainError, UnsureError

SECONDS = 5.0
CONNECT_SECONDS = 3.0
"""Shorter, so that it is known that nothing was sent yet."""
MOST_BYTES = 4_000_000
"""Of an answer; a page of the list of messages is the longest."""

_NUMBER = re.compile(r"\+?\d(?:[ .()/-]{0,2}\d){6,}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered."""

    status: int
    retry_after: str | None
    text: str


async def ask(session: aiohttp.ClientSession, method: str, url: str, **parameters: Any) -> Answer:  # noqa: ANN401 - aiohttp's own
    """Make one request; it follows no redirects.

    Raises:
        UnsureError: the request was sent, but its answer did not come.
        TryAgainError: nothing was sent.

    """
    where = core.mask_url(url)
    timeout = aiohttp.ClientTimeout(total=SECONDS, connect=CONNECT_SECONDS)
    try:
        async with session.request(method, url, timeout=timeout, allow_redirects=False, **parameters) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > MOST_BYTES:
                    break
            text = body.decode("utf-8", "replace")
            return Answer(response.status, response.headers.get("Retry-After"), text)
    except aiohttp.ConnectionTimeoutError:
        raise TryAgainError(f"{where}: no connection within {CONNECT_SECONDS:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "")
        raise TryAgainError(f"the certificate of {where} is not trusted: {reason}", setup=True) from None
    except aiohttp.ClientConnectorError as error:
        raise TryAgainError(f"{where} cannot be reached: {error.strerror or type(error).__name__}") from None
    except TimeoutError:
        raise UnsureError(f"{where}: no answer within {SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise UnsureError(f"{where}: the connection broke before the answer: {type(error).__name__}") from None


def said(text: str, *hidden: str) -> str:
    """Shorten what a provider said for the record, without telephone numbers and what is ``hidden``."""
    return core.detail(_NUMBER.sub("***", core.one_line(text)), *hidden)
