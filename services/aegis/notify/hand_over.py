"""One delivery from pending to its end: asked, handed over, tried again, refused, and each of it written down."""

import asyncio
import contextlib
import logging
import random
import time
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import nats.errors

from aegis.contracts import codec
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState, NewsKind
from aegis.contracts.telling import Contact
from aegis.notify import core
from aegis.notify.channel import Channel, Handed, News
from aegis.notify.core import CannotTellError, NeverError, TryAgainError, UnsureError
from aegis.notify.ledger import Kept, Ledger
from aegis.notify.limits import Breaker, Rate
from aegis.runtime import metrics, tracing
from aegis.runtime.bus import ConflictError, Msg
from aegis.runtime.service import Context

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Hand-overs to one provider at the same time."""

Compose = Callable[[DeliveryRecord], Awaitable[News | None]]


class Provider:
    """What is known of one provider: whether it may be called, and how it went last."""

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self.rate = Rate(rate)
        self.breaker = Breaker(self._changed)
        self.room = asyncio.Semaphore(AT_ONCE)
        self.last_error = ""

    def _changed(self, down: bool) -> None:  # noqa: FBT001 - as Breaker calls it
        if down:
            log.error("%s seems to be down: %s", self.name, self.last_error)
        else:
            log.warning("%s is back", self.name)


class HandOver:
    """Hands over by one channel. ``contacts`` are by channel and token; ``compose`` finds what a record tells."""

    def __init__(
        self,
        context: Context[Any],
        ledger: Ledger,
        channel: Channel,
        *,
        contacts: Mapping[tuple[str, str], Contact],
        compose: Compose,
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._channel = channel
        self._contacts = contacts
        self._compose = compose
        self._providers: dict[str, Provider] = {}
        self.errors: dict[str, str] = defaultdict(str)
        """The last problem of each contact, by token; empty once it was told again."""

    def problem(self, contact: Contact) -> str:
        """Say why a contact waits, as far as that is known."""
        provider = self._providers.get(self._channel.provider(contact))
        if provider is not None and provider.breaker.down:
            return f"{provider.name} seems to be down: {provider.last_error}"
        return self.errors[contact.token]

    async def see_to(self, sequence: int, message: Msg) -> None:
        """Bring the delivery that a message of the stream is about a step further, and answer the bus.

        Raises:
            DecodeError: it is no record.
            ConflictError: somebody else wrote of it meanwhile.

        """
        kept = Kept(codec.decode(DeliveryRecord, message.data), sequence)
        if kept.record.state is not DeliveryState.PENDING or kept.record.attempts:
            await say(message.ack)
            return
        kept = self._ledger.note_record(message.subject, kept)
        if (message.metadata.num_delivered or 1) > 1:
            kept = await self._ledger.newest(message.subject) or kept
        if kept.record.state.final:
            await say(message.ack)
            return
        contact = self._contacts.get((kept.record.channel, kept.record.recipient))
        if contact is None:
            await self._end(message, kept, DeliveryState.FAILED, "who was to be told is not in the site file any more")
        else:
            record = kept.record
            with tracing.continued(
                "notify.deliver", message, alert=record.alert, channel=record.channel, attempt=record.attempts + 1
            ):
                await self._hand_over(message, kept, contact)

    async def _expired(self, message: Msg, kept: Kept, contact: Contact) -> bool:
        """Tell whether there is no time left, and if so, write it down."""
        if time.time() < kept.record.expires_at:
            return False
        detail = "it expired before it could be handed over"
        log.error("alert %s: %s to %s", kept.record.alert, detail, self._channel.label(contact))
        await self._end(message, kept, DeliveryState.EXPIRED, detail)
        return True

    def _provider(self, contact: Contact) -> Provider:
        name = self._channel.provider(contact)
        return self._providers.setdefault(name, Provider(name, self._channel.rate))

    async def _hand_over(self, message: Msg, kept: Kept, contact: Contact) -> None:
        if await self._expired(message, kept, contact):
            return
        provider = self._provider(contact)
        news = await self._compose(kept.record)
        if news is None:
            # Its event was not read yet; should it never be, the delivery expires.
            log.warning("the event that delivery %d tells is not known yet", kept.sequence)
            await say(lambda: message.nak(delay=core.FIRST_DELAY))
            return
        async with provider.room:
            await asyncio.sleep(provider.rate.take(time.monotonic()))
            if await self._expired(message, kept, contact):
                return
            if delay := provider.breaker.wait(time.monotonic()):
                await say(lambda: message.nak(delay=delay))
                return
            await self._try(message, kept, contact, news, provider)

    async def _try(self, message: Msg, kept: Kept, contact: Contact, news: News, provider: Provider) -> None:
        subject = message.subject
        try:
            if kept.record.state is DeliveryState.SENDING:
                handed, repeated = await self._asked(contact, news)
                if handed is None:
                    kept = await self._note(subject, kept, DeliveryState.SENDING, repeated=repeated)
            else:
                handed = None
                kept = await self._note(subject, kept, DeliveryState.SENDING)
            handed = handed or await self._channel.tell(contact, news)
        except NeverError as error:
            provider.breaker.worked()
            await self._fail(message, kept, str(error))
        except TryAgainError as error:
            if error.of_contact:
                provider.breaker.worked()
            else:
                provider.last_error = str(error)
                provider.breaker.failed(time.monotonic(), error.after)
            await self._again(message, kept, contact, error)
        except ConflictError:
            provider.breaker.worked()
            raise
        except Exception as error:  # noqa: BLE001 - one alert must not stop the others
            log.error("%s: unforeseen %s", provider.name, type(error).__name__, extra=where(error))  # noqa: TRY400
            provider.breaker.failed(time.monotonic())
            await self._again(message, kept, contact, UnsureError(f"unforeseen {type(error).__name__}"))
        else:
            provider.breaker.worked()
            self.errors[contact.token] = ""
            if kept.record.kind is NewsKind.ALERT:
                waited = max(0.0, time.time() - kept.record.asked_at)
                metrics.DELIVERY_LATENCY.labels(self._channel.name).observe(waited)
            log.info("told", extra={"alert": kept.record.alert, "channel": self._channel.name})
            await self._note(subject, kept, handed.state, detail=handed.detail, provider_id=handed.provider_id)
            await say(message.ack)

    async def _asked(self, contact: Contact, news: News) -> tuple[Handed | None, bool]:
        """Ask the provider whether it has this already; also say whether it could not tell."""
        try:
            return await self._channel.ask(contact, news), False
        except (CannotTellError, NeverError):
            return None, True
        except TryAgainError as error:
            # As unsure as before: it must be asked again, not handed over.
            raise UnsureError(str(error), after=error.after, setup=error.setup) from None

    async def _note(
        self,
        subject: str,
        kept: Kept,
        state: DeliveryState,
        *,
        detail: str = "",
        provider_id: str = "",
        repeated: bool = False,
    ) -> Kept:
        record = replace(
            kept.record,
            state=state,
            at=time.time(),
            detail=core.detail(detail),
            attempts=kept.record.attempts + (state is DeliveryState.SENDING),
            provider_id=provider_id or kept.record.provider_id,
            stuck=kept.record.stuck and not state.final,
            repeated=kept.record.repeated or repeated,
        )
        tracing.note(state=state.value)
        try:
            return await self._ledger.write(subject, kept, record)
        except ConflictError:
            # A receipt that was faster says more than that it was sent.
            if (
                state is not DeliveryState.SENDING
                and (now := await self._ledger.newest(subject))
                and now.record.state.final
            ):
                return now
            raise

    async def _again(self, message: Msg, kept: Kept, contact: Contact, error: TryAgainError) -> None:
        if error.setup and str(error) != self.errors[contact.token]:
            label = self._channel.label(contact)
            log.error("%s CANNOT BE TOLD until the settings are mended: %s", label, error)
        self.errors[contact.token] = str(error)
        delay = core.next_attempt(
            now=time.time(),
            expires_at=kept.record.expires_at,
            attempt=kept.record.attempts,
            jitter=random.random(),  # noqa: S311 - spreads load, hides nothing
            after=error.after,
        )
        if delay is None:
            await self._fail(message, kept, f"no time was left for another attempt: {error}")
            return
        # One that may have been taken stays in ``sending``, so that the provider is asked first.
        state = DeliveryState.SENDING if isinstance(error, UnsureError) else DeliveryState.PENDING
        tracing.note(state="retried")
        metrics.DELIVERIES.labels(self._channel.name, "retried").inc()
        log.warning(
            "%s: attempt %d failed, the next in %.1f s: %s", self._channel.name, kept.record.attempts, delay, error
        )
        if state is not kept.record.state:
            detail = core.detail(str(error))
            record = replace(kept.record, state=state, at=time.time(), detail=detail, stuck=error.setup)
            await self._ledger.write(message.subject, kept, record)
        await say(lambda: message.nak(delay=delay))

    async def _fail(self, message: Msg, kept: Kept, problem: str) -> None:
        self.errors[kept.record.recipient] = problem
        await self._end(message, kept, DeliveryState.FAILED, problem)

    async def _end(self, message: Msg, kept: Kept, state: DeliveryState, problem: str) -> None:
        record = replace(kept.record, state=state, at=time.time(), detail=core.detail(problem))
        tracing.note(state=state.value)
        await self._ledger.write(message.subject, kept, record)
        if state is DeliveryState.FAILED:
            await self.refuse(message, problem)
        else:
            await say(message.ack)

    async def refuse(self, message: Msg, problem: str) -> None:
        """Put a message aside that can never be handled."""
        await self._context.dead_letter(message, f"{self._channel.name}: {problem}")
        await say(message.term)


async def say(answer: Callable[[], Awaitable[None]]) -> None:
    """Answer the bus about a message. An answer that is lost is harmless: the message comes again and is recognised."""
    with contextlib.suppress(nats.errors.Error, OSError):
        await answer()


def where(error: Exception) -> dict[str, str]:
    """Say for the log where an error happened, without its text."""
    return {"kind": type(error).__name__, "trace": "".join(traceback.format_tb(error.__traceback__))}
