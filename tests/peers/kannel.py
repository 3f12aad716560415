"""A real Kannel for the tests: bearerbox, smsbox and the fake SMS centre of Debian's packages, on free ports."""

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bus import until
from tests.conftest import require

BEARERBOX, SMSBOX = Path("/usr/sbin/bearerbox"), Path("/usr/sbin/smsbox")
FAKESMSC = Path("/usr/lib/kannel/test/fakesmsc")
USER, PASSWORD = "aegis", "hush-kannel"
NO_ROUTE = "+999"
"""Numbers that begin so have no route."""

_CONFIG = """
group = core
admin-port = {admin}
admin-password = unused
admin-interface = 127.0.0.1
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
log-file = "{directory}/bearerbox.log"
dlr-storage = internal

group = smsc
smsc = fake
smsc-id = FAKE
host = 127.0.0.1
port = {centre}
connect-allow-ip = 127.0.0.1
denied-prefix = "{no_route}"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
sendsms-chars = "0123456789+"
log-file = "{directory}/smsbox.log"
access-log = "{directory}/access.log"

group = sms-service
keyword = default
max-messages = 0
text = ""

group = sendsms-user
username = {user}
password = {password}
"""
_GOT = re.compile(r"Got message \d+: <(\S+) (\S+) text (.*)>")


class Kannel:
    """Its address is ``url``; its parts can be stopped and started."""

    def __init__(self, directory: Path) -> None:
        for program in (BEARERBOX, SMSBOX, FAKESMSC):
            require(program, "Kannel (the Debian packages kannel and kannel-extras)")
        names = ("admin", "boxes", "centre", "sendsms")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self._ports['sendsms']}/cgi-bin/sendsms"

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator["Kannel"]:
        """Run all parts."""
        text = _CONFIG.format(**self._ports, directory=self._directory, user=USER, password=PASSWORD, no_route=NO_ROUTE)
        (self._directory / "kannel.conf").write_text(text)
        try:
            self._start("bearerbox", str(BEARERBOX), "kannel.conf")
            await self._listens("boxes")
            await self._listens("centre")
            self._start("smsbox", str(SMSBOX), "kannel.conf")
            await self._listens("sendsms")
            await self.start_centre()
            yield self
        finally:
            for name in list(self._processes):
                self._kill(name)

    async def start_centre(self) -> None:
        """Have the SMS centre come (back); returns once Kannel has taken its first message, so it can send."""
        greeting = "nothing but a sign of life"
        seen = self._log("access").count(greeting)
        port = str(self._ports["centre"])
        message = f"1 2 text {greeting}"
        self._start("fakesmsc", str(FAKESMSC), "-H", "127.0.0.1", "-r", port, "-i", "100000", message)
        await until(lambda: self._log("access").count(greeting) > seen, "the SMS centre is connected")

    def kill_centre(self) -> None:
        self._kill("fakesmsc")

    def pause(self) -> None:
        """Keep the bearerbox from answering; what it is sent it finds when it goes on."""
        self._processes["bearerbox"].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._processes["bearerbox"].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Have all of the gateway go away."""
        self._kill("smsbox")
        self._kill("bearerbox")

    def received(self) -> list[tuple[str, str, str]]:
        """Sender, number and text of what the SMS centre got, over all its lives."""
        return _GOT.findall(self._log("fakesmsc"))

    def logs(self) -> str:
        """All that Kannel wrote."""
        return "".join(self._log(name) for name in ("bearerbox", "smsbox", "access", "fakesmsc"))

    def access(self) -> str:
        return self._log("access")

    def _log(self, name: str) -> str:
        path = self._directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _start(self, name: str, *command: str) -> None:
        with (self._directory / f"{name if name == 'fakesmsc' else f'{name}.out'}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self._directory, stdout=log, stderr=log)
        self._processes[name] = process

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    async def _listens(self, name: str) -> None:
        async def listening() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._ports[name])
            except OSError:
                return False
            writer.close()
            return True

        await until(listening, f"Kannel listens for {name}")


def free_ports(count: int) -> list[int]:
    """Find ports that nobody uses; all are held until the last is found, so that they differ."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in found]
