"""Child processes that are started again when they die, and never outlive their parent."""

import asyncio
import contextlib
import ctypes
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STEADY_SECONDS = 30.0
NEEDS_A_PERSON = 2
"""Exit code of a service that cannot start for a reason that somebody must mend."""


class Child:
    """One supervised process; ``tell`` gets a sentence whenever it dies."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], output: Path, tell: Callable[[str], None]
    ) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._output = output
        self._tell = tell
        self._process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self.refusal = ""
        """What a person must mend before it can start, in its own words."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self) -> None:
        """Keep it running until cancelled."""
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                code = await self._once()
            except OSError as error:  # no room for its output, or for one more process
                self._tell(f"{self.name} cannot be started: {error.strerror}")
                await asyncio.sleep(LONGEST_PAUSE)
                continue
            if time.monotonic() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self.refusal = self._complaint() if code == NEEDS_A_PERSON else ""
            if self.refusal:
                self._tell(f"{self.name} cannot start: {self.refusal}; trying again")
            else:
                reason = self.last_words()
                self._tell(f"{self.name} ended ({_why(code)}){': ' + reason if reason else ''}; starting it again")
            self.restarts += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def stop(self, patience: float) -> None:
        """End it, by force once ``patience`` seconds are over."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            process.send_signal(signal.SIGCONT)
            try:
                async with asyncio.timeout(patience):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def last_words(self) -> str:
        """Give the last line that it printed."""
        with contextlib.suppress(OSError):
            lines = self._output.read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def _complaint(self) -> str:
        """Give all that it complained of, which may be several settings."""
        mark = f"aegis {self.name}: "
        with contextlib.suppress(OSError):
            lines = self._output.read_text(errors="replace").splitlines()
            return "; ".join(line.removeprefix(mark) for line in lines if line.startswith(mark)) or self.last_words()
        return self.last_words()

    async def _once(self) -> int:
        with self._output.open("wb") as output:
            # A session of its own, so that Ctrl-C reaches the parent alone, which then stops all in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=dict(self._environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        return await self._process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _why(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
