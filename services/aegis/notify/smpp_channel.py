"""SMS over SMPP 3.4: one session with an SMSC, kept open for as long as notify runs, so that receipts reach it.

    tell ──► submit_sm ──► message id            run keeps the session: bind, bind again after a loss
    take_receipt ◄── deliver_sm, answered once the receipt is recorded; until then the SMSC gives it again

SMPP has no name of ours for a message, and finds one by the id in its own answer alone: after an answer that was
missed, the SMSC cannot be asked.
"""

import asyncio
import datetime as dt
import logging
import ssl
import time

from aegis.contracts.telling import Contact
from aegis.notify import core, smpp_link, smpp_pdu, smpp_receipts, sms_words
from aegis.notify.channel import CannotBeAsked, Handed, News, Receipt, TakeReceipt
from aegis.notify.core import NeverError, TryAgainError, UnsureError
from aegis.notify.smpp_link import BindRefusedError, Link, UnansweredError
from aegis.notify.smpp_pdu import Command, Pdu, PduError, Status
from aegis.runtime.site_notify import SmppConfig

log = logging.getLogger(__name__)

BOUND_SECONDS = 2.0
"""How long an SMS waits for the session; then it is tried again like after any failure."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0

HOPELESS = (Status.RINVDSTADR, Status.RINVDSTTON, Status.RINVDSTNPI, Status.RINVMSGLEN)
"""What is the message's own fault. Every other refusal may pass, those of the provider's own numbers too."""
OUR_SETTINGS = (Status.RBINDFAIL, Status.RINVPASWD, Status.RINVSYSID, Status.RINVSRCADR, Status.RINVSRCTON,
                Status.RINVSRCNPI)  # fmt: skip


class SmppChannel(CannotBeAsked):
    """Tells telephones. Nothing is told unless :meth:`run` runs.

    Raises:
        ValueError: a setting cannot be said in SMPP; the text holds no secret.

    """

    name = "sms"

    def __init__(self, config: SmppConfig, take_receipt: TakeReceipt, zone: dt.tzinfo) -> None:
        self.rate = config.rate
        self._config = config
        self._take_receipt = take_receipt
        self._zone = zone
        self._where = f"{config.host}:{config.port}"
        self._tls = ssl.create_default_context() if config.tls else None
        self._sender = smpp_pdu.sender(config.sender)
        self._bind_body = smpp_pdu.bind_transceiver(config.user, config.password)
        self._ids = smpp_receipts.Ids()
        self._link: Link | None = None
        self._bound = asyncio.Event()
        self._problem: tuple[str, bool] = ("not connected yet", False)

    def provider(self, contact: Contact) -> str:  # noqa: ARG002 - all contacts share the session
        """Name the SMSC."""
        return f"smpp {self._where}"

    def label(self, contact: Contact) -> str:
        """Name a telephone so that its owner recognises it."""
        return sms_words.mask_number(contact.address)

    async def run(self) -> None:
        """Keep the session until cancelled; then take leave."""
        pause = FIRST_PAUSE
        config = self._config
        while True:
            try:
                async with smpp_link.bind(config.host, config.port, self._tls, self._bind_body, self._take) as link:
                    pause = FIRST_PAUSE
                    self._open(link)
                    self._closed(await link.ended())
            except ssl.SSLCertVerificationError as error:
                self._closed(f"the certificate is not trusted: {error.verify_message}", setup=True)
            except OSError as error:
                self._closed(f"cannot be reached: {error.strerror or str(error) or type(error).__name__}")
            except UnansweredError as error:
                self._closed(f"the bind: {error}")
            except BindRefusedError as error:
                self._closed(str(error), setup=error.status in OUR_SETTINGS)
            finally:
                self._link = None
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Hand one SMS over; returns once the SMSC has taken it, with the id that it gave.

        Raises:
            UnsureError: it was written, but the SMSC did not answer.
            TryAgainError: it could not be handed over now.
            NeverError: the SMSC refuses it for good.

        """
        try:
            to = smpp_pdu.international(contact.address)
        except ValueError as error:
            raise NeverError(str(error)) from None
        message = smpp_pdu.gsm(sms_words.text(news, names=self._config.names, zone=self._zone))
        link = await self._session()
        body = smpp_pdu.submit_sm(self._sender, to, message, news.expires_at - time.time())
        try:
            answer = await link.request(Command.SUBMIT_SM, body)
        except ConnectionError as error:
            raise TryAgainError(f"{self._where}: {error}") from None
        except UnansweredError as error:
            raise UnsureError(f"{self._where}: {error}") from None
        _judge(answer)
        message_id = core.one_line(smpp_pdu.c_string(answer.body))
        self._ids.remember(message_id, to.number)
        return Handed(provider_id=message_id)

    async def _session(self) -> Link:
        try:
            async with asyncio.timeout(BOUND_SECONDS):
                while (link := self._link) is None or link.lost:
                    self._bound.clear()
                    await self._bound.wait()
                return link
        except TimeoutError:
            problem, setup = self._problem
            raise TryAgainError(f"{self._where}: {problem}", setup=setup) from None

    def _open(self, link: Link) -> None:
        self._link = link
        self._bound.set()
        self._problem = ("", False)
        log.info("%s: bound", self._where)

    def _closed(self, problem: str, *, setup: bool = False) -> None:
        if (problem, setup) != self._problem:
            log.log(logging.ERROR if setup else logging.WARNING, "%s: no session: %s", self._where, problem)
        self._problem = (problem, setup)

    async def _take(self, pdu: Pdu) -> Status:
        """Take what the SMSC delivers, and say how to answer it: what is not recorded now is to be given again."""
        try:
            report = smpp_receipts.read(smpp_pdu.parse_deliver_sm(pdu.body))
        except PduError:
            return Status.RINVMSGLEN
        if report is None or report.state is None or not report.ids:
            # Somebody's SMS to us, or a receipt that says nothing that we could use.
            return Status.OK
        receipt = Receipt(state=report.state, provider_id=self._ids.find(report), detail=report.detail)
        try:
            await self._take_receipt(receipt)
        except LookupError:
            # It is of nothing that is known here, and would not be the next time.
            log.info("%s: a receipt for what was not handed over of late", self._where)
        return Status.OK


def _judge(answer: Pdu) -> None:
    if answer.command == Command.SUBMIT_SM_RESP and answer.status == Status.OK:
        return
    problem = smpp_pdu.name_status(answer.status)
    if answer.status in HOPELESS:
        raise NeverError(problem)
    raise TryAgainError(problem, setup=answer.status in OUR_SETTINGS)
