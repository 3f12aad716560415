"""The two faces that a person compares, fetched from where they lie sealed and scaled to one height."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

import cv2
import numpy as np

from aegis.contracts import codec
from aegis.contracts.alerts import Sighting
from aegis.contracts.messages import EntryRecord
from aegis.runtime.buckets import Bucket, Entry
from aegis.runtime.bus import Bus, BusUnavailableError
from aegis.runtime.sealing import Sealer, SealError

log = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""The probe is stored a moment after its alert; a mail waits for it no longer than this."""
POLL_SECONDS = 0.05
HEIGHT = 224
WIDEST = 3 * HEIGHT


@dataclass(frozen=True, slots=True)
class Pictures:
    """The probe and the photo on the list, as JPEG of :data:`HEIGHT` rows; None where there is none."""

    probe: bytes | None
    photo: bytes | None


class Album:
    """Gives the pictures of an alert."""

    def __init__(self, bus: Bus, sealer: Sealer) -> None:
        self._sealer = sealer
        self._evidence = Bucket(bus, "evidence")
        self._watchlist = Bucket(bus, "watchlist")
        self._photos = Bucket(bus, "photos")

    async def of(self, seen: Sighting) -> Pictures:
        """Fetch what there is within :data:`WAIT_SECONDS`; whatever goes wrong, the alert goes out without it."""
        probe, photo = await asyncio.gather(self._patiently(self._probe(seen)), self._patiently(self._photo(seen)))
        return Pictures(probe, photo)

    async def _patiently(self, fetching: Awaitable[bytes | None]) -> bytes | None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                picture = await fetching
            return await asyncio.to_thread(scale, picture) if picture else None
        except TimeoutError:
            log.info("a picture was not there in time")
        except (BusUnavailableError, SealError, codec.DecodeError) as error:
            log.warning("a picture is not available: %s", error)
        except Exception as error:  # noqa: BLE001 - an alert without its picture is better than none
            log.error("a picture is not available: %s", type(error).__name__)  # noqa: TRY400 - it might tell a key
        return None

    async def _probe(self, seen: Sighting) -> bytes | None:
        found: Entry | None = None
        while seen.chip and found is None:
            found = await self._evidence.get(seen.chip)
            if found is None:
                await asyncio.sleep(POLL_SECONDS)
        return self._sealer.open("evidence", seen.chip, found.value) if found else None

    async def _photo(self, seen: Sighting) -> bytes | None:
        sealed = await self._watchlist.get(seen.entry)
        if sealed is None:
            return None
        entry = codec.decode(EntryRecord, self._sealer.open("watchlist", seen.entry, sealed.value))
        if not entry.templates:
            return None
        key = entry.templates[0].photo
        photo = await self._photos.get(key)
        return self._sealer.open("photos", key, photo.value) if photo else None


def scale(picture: bytes) -> bytes | None:
    """Scale a JPEG or PNG to :data:`HEIGHT` rows, as JPEG; None if it cannot be read."""
    try:
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return None
        rows, columns = image.shape[:2]
        width = min(WIDEST, max(1, round(columns * HEIGHT / rows)))
        shrinks = rows > HEIGHT
        resized = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        done, encoded = cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, 90])
    except cv2.error:
        return None
    return encoded.tobytes() if done else None
