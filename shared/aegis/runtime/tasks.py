"""Ending tasks for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 1.0
"""Long enough for a task to clean up after the first cancellation."""


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until each has ended.

    Once is not enough: in Python 3.11 ``asyncio.wait_for``, through which every call of nats-py waits, drops a
    cancellation that arrives at the same moment as its result. Errors stay in the tasks.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
