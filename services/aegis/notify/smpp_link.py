"""One connection to an SMSC: requests with their answers, receipts with ours, and a watch that the line is alive.

    request ──► window of 10 ──► submit_sm ──────► submit_sm_resp
    take    ◄── bounded queue ◄─ deliver_sm, answered once it was taken

Bound as a transceiver, so that one connection serves both directions.
"""

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from aegis.notify import smpp_pdu
from aegis.notify.smpp_pdu import Command, Pdu, PduError, Status
from aegis.runtime import tasks

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
QUIET_SECONDS = 30.0
"""A line on which nothing came for so long is asked whether it is alive."""
UNBIND_SECONDS = 1.0
WINDOW = 10
"""Messages handed over and not yet answered; more is what many providers throttle."""
DELIVERIES, TAKERS = 100, 10
"""How many receipts wait here, and how many are taken at once: one that nobody knows must not hold up the others."""
LAST_SEQUENCE = 0x7FFF_FFFF

Take = Callable[[Pdu], Awaitable[Status]]


class UnansweredError(Exception):
    """A request was written, and no answer to it came."""


class BindRefusedError(Exception):
    """The SMSC does not open a session."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the bind was refused: {smpp_pdu.name_status(status)}")


class Link:
    """A connection, which :func:`connect` opens. ``take`` is given each ``deliver_sm`` and says how to answer it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Take) -> None:
        self._reader = reader
        self._writer = writer
        self._take = take
        self._room = asyncio.Semaphore(WINDOW)
        self._sequence = itertools.cycle(range(1, LAST_SEQUENCE))
        self._waiting: dict[int, asyncio.Future[Pdu]] = {}
        self._deliveries: asyncio.Queue[Pdu] = asyncio.Queue(DELIVERIES)
        self._heard = 0
        self._ended = asyncio.Event()
        self.lost = ""
        """Why there is no connection any more; empty while there is."""

    async def request(self, command: Command, body: bytes = b"") -> Pdu:
        """Ask, and give the answer, which may be a ``generic_nack``.

        Raises:
            ConnectionError: nothing was written.
            UnansweredError: it was written, but no answer came.

        """
        async with self._room:
            if self.lost:
                raise ConnectionError(self.lost)
            sequence, heard = next(self._sequence), self._heard
            answer: asyncio.Future[Pdu]
            answer = self._waiting[sequence] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._send(Pdu(command, sequence, body=body))
                    return await answer
            except TimeoutError:
                if heard == self._heard:
                    # Not a sound since: the next request shall not wait as long for a line that is dead.
                    self._writer.transport.abort()
                raise UnansweredError(f"no answer within {ANSWER_SECONDS:g} s") from None
            finally:
                del self._waiting[sequence]

    async def ended(self) -> str:
        """Wait until the connection is lost, and say why."""
        await self._ended.wait()
        return self.lost

    async def read(self) -> None:
        """Take what comes until the connection is lost; then ``lost`` says why."""
        try:
            while True:
                pdu = await self._next()
                self._heard += 1
                self._handle(pdu)
        except EOFError:
            self.lost = "the connection was closed"
        except (PduError, OSError) as error:
            self.lost = str(error) or type(error).__name__
        finally:
            self.lost = self.lost or "the connection is being closed"
            self._ended.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(UnansweredError(self.lost))

    async def deliver(self) -> None:
        """Hand on for ever what the other side delivers, and answer it."""
        while True:
            pdu = await self._deliveries.get()
            try:
                status = await self._take(pdu)
            except Exception as error:  # noqa: BLE001 - one of them must not stop the others
                log.warning("a delivery is to be given again: %s", type(error).__name__)
                status = Status.RX_T_APPN
            self._answer(pdu, Command.DELIVER_SM_RESP, status, body=b"\0")

    async def _next(self) -> Pdu:
        asked = False
        while True:
            try:
                # Reading stops between PDUs alone, so that none is cut.
                async with asyncio.timeout(ANSWER_SECONDS if asked else QUIET_SECONDS):
                    header = await self._reader.readexactly(smpp_pdu.HEADER_BYTES)
                    break
            except TimeoutError:
                if asked:
                    raise ConnectionError("the line is dead: no answer to enquire_link") from None
                asked = True
                self._send(Pdu(Command.ENQUIRE_LINK, next(self._sequence)))
        pdu, length = smpp_pdu.parse_header(header)
        async with asyncio.timeout(ANSWER_SECONDS):
            body = await self._reader.readexactly(length)
        return Pdu(pdu.command, pdu.sequence, pdu.status, body)

    def _handle(self, pdu: Pdu) -> None:
        if pdu.answers:
            # An answer that nobody waits for came too late, or is to enquire_link.
            answer = self._waiting.get(pdu.sequence)
            if answer is not None and not answer.done():
                answer.set_result(pdu)
        elif pdu.command == Command.DELIVER_SM:
            try:
                self._deliveries.put_nowait(pdu)
            except asyncio.QueueFull:
                self._answer(pdu, Command.DELIVER_SM_RESP, Status.RMSGQFUL, body=b"\0")
        elif pdu.command == Command.ENQUIRE_LINK:
            self._answer(pdu, Command.ENQUIRE_LINK_RESP)
        elif pdu.command == Command.UNBIND:
            self._answer(pdu, Command.UNBIND_RESP)
            raise ConnectionError("the other side ended the session")
        else:
            self._answer(pdu, Command.GENERIC_NACK, Status.RINVCMDID)

    def _answer(self, pdu: Pdu, command: Command, status: Status = Status.OK, body: bytes = b"") -> None:
        self._send(Pdu(command, pdu.sequence, status, body))

    def _send(self, pdu: Pdu) -> None:
        # A few hundred bytes each, and the window bounds how many: there is no need to wait for the socket.
        self._writer.write(pdu.encode())


@contextlib.asynccontextmanager
async def bind(host: str, port: int, tls: ssl.SSLContext | None, body: bytes, take: Take) -> AsyncIterator[Link]:
    """Open a connection and a session on it with the ``body`` of a bind; unbind and close at the end.

    Raises:
        OSError: no connection can be opened, or it was lost at once.
        UnansweredError: no answer to the bind came.
        BindRefusedError: the SMSC refuses it.

    """
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    link = Link(reader, writer, take)
    work = [asyncio.create_task(link.read()), *(asyncio.create_task(link.deliver()) for _ in range(TAKERS))]
    try:
        answer = await link.request(Command.BIND_TRANSCEIVER, body)
        if answer.command != Command.BIND_TRANSCEIVER_RESP or answer.status != Status.OK:
            raise BindRefusedError(answer.status)
        try:
            yield link
        finally:
            with contextlib.suppress(ConnectionError, UnansweredError, TimeoutError):
                async with asyncio.timeout(UNBIND_SECONDS):
                    await link.request(Command.UNBIND)
    finally:
        await tasks.end(work)
        writer.close()
