"""What every process says of itself in its metrics: its version, whether it is ready, its bus, its certificates."""

import asyncio
import importlib.metadata
import ssl
from collections.abc import Callable

from aegis.runtime import certificates, metrics
from aegis.runtime.bus import Bus


async def note(bus: Bus, ready: Callable[[], bool]) -> None:
    """Have the metrics tell these for as long as the process lives. A certificate counts as it was when it was read."""
    metrics.BUILD_INFO.labels(await asyncio.to_thread(importlib.metadata.version, "aegis-watch")).set(1)
    metrics.READY.set_function(ready)
    metrics.BUS_CONNECTED.set_function(lambda: bus.connected)

    async def reconnected() -> None:
        metrics.BUS_RECONNECTS.inc()
        _note_presented(bus)

    bus.on_reconnect(reconnected)
    _note_presented(bus)
    if bus.config.ca is not None:
        authority = await asyncio.to_thread(bus.config.ca.read_bytes)
        metrics.CERTIFICATE_EXPIRES.labels("bus-ca").set(certificates.trusted_until(authority))


def _note_presented(bus: Bus) -> None:
    """Note until when the certificate holds that the server showed for this connection."""
    writer = getattr(bus.client._transport, "_io_writer", None)  # noqa: SLF001 - there is no public way
    shown = writer.get_extra_info("peercert") if writer else None
    if shown:
        metrics.CERTIFICATE_EXPIRES.labels("bus").set(ssl.cert_time_to_seconds(shown["notAfter"]))
