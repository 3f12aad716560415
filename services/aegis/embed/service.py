"""Embed: looks in, unit vectors out. It keeps nothing, so any number of replicas share one queue.

    face.detected.<p>.<camera> ──► micro-batch ──► SFace ──► face.embedded.<p>.<camera>

The picture of a face ends here: what goes on is a vector.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from nats.js.api import AckPolicy, ConsumerConfig
from numpy.typing import NDArray

from aegis.contracts import codec, subjects
from aegis.contracts.messages import EmbeddedLook, FacesDetected, FacesEmbedded, Look
from aegis.runtime import metrics, tracing
from aegis.runtime.bus import BusUnavailableError, Msg, RefusedError
from aegis.runtime.consumers import consume
from aegis.runtime.faces import embed
from aegis.runtime.inference import MAX_EMBED_BATCH, PROVIDERS, Model, announce, open_model
from aegis.runtime.models import ModelError, load_cards
from aegis.runtime.policy import Policy
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting
from aegis.runtime.topology import LOOK_SECONDS
from aegis.vision.alignment import SIDE

log = logging.getLogger(__name__)

STORE_SECONDS = 1.0
ACK_SECONDS = 3.0
LINGER_SECONDS = 0.03
"""How long a look waits for others. Cameras are looked at on one beat, so there often are some, and faces that are
embedded together cost less."""
RECENT = 512
"""Vectors that are remembered: a look that is sent again, lest it was lost, need not be embedded again ..."""
RECENT_SECONDS = 10.0
"""... for as long as detect may send it."""
CHIP_BYTES = SIDE * SIDE * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedSettings(ServiceSettings):
    """Settings of embed."""

    models_dir: Path = setting(doc="Folder with the model files; `aegis models pull` fills it.")
    model_cards_dir: Path | None = setting(None, "Folder with the site's own model cards.")
    embedder: str = setting("sface-2021dec", "Id of the embedder's model card; the registry must use the same.")
    provider: str = setting("auto", "What runs the models; `auto` takes the fastest one.", choices=PROVIDERS)


Vector: TypeAlias = NDArray[np.float32]
Identity = tuple[str, int, int, int]
"""Of a look: its camera, lease, track and number."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that are embedded together, with what was read from each."""

    taken_at: float
    messages: list[tuple[Msg, FacesDetected]]

    @property
    def looks(self) -> dict[Identity, Look]:
        return {_identity(faces, look): look for _, faces in self.messages for look in faces.looks}


class Embed:
    """The running service."""

    def __init__(self, context: Context[EmbedSettings], model: Model) -> None:
        self._context = context
        self._model = model
        self._worker = ThreadPoolExecutor(1, "embed")
        self._in_hand = 0
        self._recent: OrderedDict[Identity, tuple[float, Vector]] = OrderedDict()
        self.policy = Policy(context.bus, f"embed-{context.settings.replica}", context.settings.run, self._changed)
        context.health.busy = lambda: self._in_hand

    async def work(self) -> None:
        """Embed what waits, for ever."""
        config = ConsumerConfig(durable_name="embed", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_SECONDS)
        async with consume(self._context.bus, subjects.FACES, config, batch=MAX_EMBED_BATCH) as consumer:
            while True:
                messages = await consumer.next(wait=RECENT_SECONDS / 2, linger=LINGER_SECONDS)
                self._forget(time.time())
                self._in_hand = len(messages)
                now = time.time()
                batch = Batch(now, [(m, faces) for m in messages if (faces := await self._accept(m)) is not None])
                if batch.messages:
                    await self._embed(batch)
                self._in_hand = 0

    async def _accept(self, message: Msg) -> FacesDetected | None:
        faces = await self._context.read(FacesDetected, message)
        if faces is None:
            await message.term()
            return None
        if bad := next((look for look in faces.looks if len(look.chip) != CHIP_BYTES), None):
            await self._context.dead_letter(
                message, f"looks.chip: {CHIP_BYTES} bytes are expected, not {len(bad.chip)}"
            )
            await message.term()
            return None
        newest = max((look.seen_at for look in faces.looks), default=0.0)
        if not self.policy.processing or time.time() - newest > LOOK_SECONDS:
            metrics.EXPIRED.inc(len(faces.looks))
            await message.ack()
            return None
        return faces

    async def _embed(self, batch: Batch) -> None:
        looks = batch.looks
        new = {identity: look for identity, look in looks.items() if identity not in self._recent}
        vectors = {identity: self._recent[identity][1] for identity in looks.keys() - new.keys()}
        if new:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._worker, self._run, list(new.values()))
            vectors |= zip(new, found, strict=True)
        metrics.EMBEDDED.inc(len(new))
        now = time.time()
        for identity, look in looks.items():
            self._recent[identity] = now, vectors[identity]
            self._recent.move_to_end(identity)
            metrics.LOOK_AGE.observe(now - look.seen_at)
        await asyncio.gather(
            *(
                self._send(batch, m, faces, [vectors[_identity(faces, look)] for look in faces.looks])
                for m, faces in batch.messages
            )
        )

    async def _changed(self) -> None:
        if not self.policy.processing:
            self._recent.clear()

    def _forget(self, now: float) -> None:
        """Forget vectors of looks that are not sent again."""
        while self._recent and (
            len(self._recent) > RECENT or next(iter(self._recent.values()))[0] < now - RECENT_SECONDS
        ):
            self._recent.popitem(last=False)

    def _run(self, looks: list[Look]) -> list[Vector]:
        vectors: list[Vector] = []
        for start in range(0, len(looks), MAX_EMBED_BATCH):
            part = looks[start : start + MAX_EMBED_BATCH]
            chips = [np.frombuffer(look.chip, np.uint8).reshape(SIDE, SIDE, 3) for look in part]
            vectors.extend(embed(self._model, chips))
        return vectors

    async def _send(self, batch: Batch, message: Msg, faces: FacesDetected, vectors: list[Vector]) -> None:
        partition = subjects.partition_of(message.subject)
        looks = tuple(
            EmbeddedLook(
                track=look.track,
                look=look.look,
                captured_at=look.captured_at,
                first_captured_at=look.first_captured_at,
                seen_at=look.seen_at,
                media_time=look.media_time,
                quality=look.quality,
                vector=vector.astype("<f4").tobytes(),
            )
            for look, vector in zip(faces.looks, vectors, strict=True)
        )
        embedded = FacesEmbedded(
            camera=faces.camera,
            lease=faces.lease,
            detector=faces.detector,
            embedder=self._model.card.template_version,
            looks=looks,
        )
        subject = subjects.face_embedded(partition, faces.camera)
        identity = f"{faces.camera}.{faces.lease}.{message.metadata.sequence.stream}"
        beside = (other for other, _ in batch.messages if other is not message)
        payload = codec.encode(embedded)
        with tracing.continued(
            "embed.looks", message, since=batch.taken_at, beside=beside, camera=faces.camera, looks=len(looks)
        ):
            try:
                await self._context.bus.store(subject, payload, message_id=identity, patience=STORE_SECONDS)
                await message.ack()
            except (BusUnavailableError, RefusedError) as error:
                log.warning("vectors lost: %s", error)


def _identity(faces: FacesDetected, look: Look) -> Identity:
    return faces.camera, faces.lease, look.track, look.look


@contextlib.asynccontextmanager
async def build(context: Context[EmbedSettings]) -> AsyncIterator[None]:
    settings = context.settings
    try:
        cards = load_cards(settings.model_cards_dir)
        if settings.embedder not in cards or cards[settings.embedder].task != "embed":
            raise StartError(f"AEGIS_EMBEDDER={settings.embedder!r} names no embedder; known are {', '.join(cards)}")
        card = cards[settings.embedder]
        model = await asyncio.to_thread(open_model, card, settings.models_dir, provider=settings.provider)
    except ModelError as error:
        raise StartError(str(error)) from None
    context.health.detail |= announce(model)
    service = Embed(context, model)
    async with background() as start:
        start(service.policy.run())
        await service.policy.synced.wait()
        start(service.work())
        yield


SERVICE = Service("embed", EmbedSettings, build)
