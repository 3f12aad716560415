"""Asking every service how it is, over the bus."""

import asyncio
import contextlib
import json
import re
from typing import Any

from aegis.contracts import subjects
from aegis.runtime import metrics
from aegis.runtime.bus import Bus, Msg

_BUCKET = re.compile(r"^(?P<name>\w+)_bucket\{(?P<labels>.*)\}$")
_BOUND = re.compile(r'(?:^|,)le="([^"]+)"')


async def collect(bus: Bus, wait: float = 0.5, enough: int | None = None) -> list[dict[str, Any]]:
    """Gather the answers of ``wait`` seconds, or the first ``enough``, sorted by service and replica."""
    answers: list[dict[str, Any]] = []
    complete = asyncio.Event()

    async def take(message: Msg) -> None:
        if message.data:
            answers.append(json.loads(message.data))
            if enough is not None and len(answers) >= enough:
                complete.set()

    inbox = bus.client.new_inbox()
    subscription = await bus.subscribe(inbox, take)
    await bus.client.publish(subjects.STATUS, b"", reply=inbox)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait):
            await complete.wait()
    await subscription.unsubscribe()
    return sorted(answers, key=lambda answer: (answer["service"], answer["replica"]))


def total(answers: list[dict[str, Any]], name: str, **labels: str) -> float:
    """Sum a counter or gauge over all services, of the samples that carry ``labels``."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(value)
        for answer in answers
        for sample, value in answer["metrics"].items()
        if sample.partition("{")[0] == name and all(label in sample for label in wanted)
    )


def quantiles(answers: list[dict[str, Any]], name: str, **labels: str) -> dict[str, float] | None:
    """Give count, p50 and p99 in seconds of a histogram over all services; None while it is empty."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    buckets: dict[float, float] = {}
    for answer in answers:
        for sample, value in answer["metrics"].items():
            match = _BUCKET.match(sample)
            if match is None or match["name"] != name or not all(label in sample for label in wanted):
                continue
            bound = _BOUND.search(match["labels"])
            if bound is not None:
                buckets[float(bound[1])] = buckets.get(float(bound[1]), 0.0) + value
    count = buckets.get(float("inf"), 0.0)
    if not count:
        return None
    return {"count": count, "p50": metrics.quantile(buckets, 0.5), "p99": metrics.quantile(buckets, 0.99)}
