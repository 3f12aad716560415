"""A bus from before there were accounts goes on with all that it has kept."""

from pathlib import Path

import nkeys
from tests.bus import Server

from aegis.contracts import subjects
from aegis.runtime import topology


async def test_what_a_bus_without_accounts_kept_is_there(tmp_path: Path) -> None:
    server = Server(tmp_path)
    path = server.files.config
    admin = nkeys.from_seed(server.files.key("admin").read_bytes().strip()).public_key.decode()
    head, _, _ = path.read_text().partition("accounts: ")
    path.write_text(f"{head}authorization {{ users: [{{nkey: {admin}}}] }}\n")
    server.start()
    subject = subjects.alert("north", "barred", "somebody")
    async with server.connect() as bus:
        await bus.client.jetstream().add_stream(topology.declared(subjects.ALERTS))
        sequence = await bus.store(subject, b"kept")
    server.stop()
    again = Server(tmp_path)
    again.start()
    try:
        async with again.connect() as bus:
            await topology.declare(bus)
            kept = await bus.last(subjects.ALERTS, subject)
            assert kept is not None
            assert (kept.seq, kept.data) == (sequence, b"kept")
        async with again.connect("integrator") as mine:
            reader = await mine.client.jetstream().pull_subscribe(subject, durable="mine", stream=subjects.ALERTS)
            (message,) = await reader.fetch(1, timeout=10)
            assert message.data == b"kept"
    finally:
        again.kill()
