"""The cohort: templates of people who are never on the list, by which scores are normalised. Kept sealed, in parts."""

import asyncio
import logging
import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aegis.contracts import codec
from aegis.contracts.messages import COHORT_PART_BYTES, MAX_COHORT, CohortPart, CohortRecord, UseCohort
from aegis.registry import core
from aegis.registry.core import RequestError
from aegis.registry.vault import Vault
from aegis.runtime import sealing
from aegis.vision.normalisation import MIN_PEOPLE

log = logging.getLogger(__name__)

BUCKET = "cohort"
UNIT = 1e-3
"""How far from 1 rounding may bring the length of a unit vector."""


@dataclass(slots=True)
class _Arriving:
    """A cohort of which not all parts are here yet."""

    id: str
    parts: dict[int, NDArray[np.float32]] = field(default_factory=dict)


class Cohorts:
    """The one cohort that is used, and the one that is being sent. ``embedder`` is the template version in use."""

    def __init__(self, vault: Vault, embedder: str, dimension: int) -> None:
        self._vault = vault
        self._embedder = embedder
        self._dimension = dimension
        self._arriving = _Arriving("")
        self._loaded: tuple[str, NDArray[np.float32]] | None = None

    async def take(self, part: CohortPart) -> object:
        """Take a part of one that is being sent, until another one is begun.

        Raises:
            RequestError: it is another embedder's, not of unit vectors, or too many.

        """
        if part.embedder != self._embedder:
            raise RequestError(f"the cohort's templates are of {part.embedder}, the site's of {self._embedder}")
        if len(part.vectors) % (4 * self._dimension):
            raise RequestError(f"{len(part.vectors)} bytes are no templates of {self._dimension} numbers")
        vectors = np.frombuffer(part.vectors, "<f4").reshape(-1, self._dimension)
        if not (np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1) < UNIT).all():
            raise RequestError("a template of the cohort is not of unit length")
        if self._arriving.id != part.cohort:
            self._arriving = _Arriving(part.cohort)
        self._arriving.parts[part.number] = vectors
        if sum(map(len, self._arriving.parts.values())) > MAX_COHORT:
            self._arriving = _Arriving("")
            raise RequestError(f"a cohort has at most {MAX_COHORT} people")
        return {"taken": len(vectors)}

    async def keep(
        self, request: UseCohort, listed: NDArray[np.float32], now: float
    ) -> tuple[CohortRecord, core.Chosen]:
        """Keep the cohort that was sent, without whoever is on the list, by its templates (T, D), or in it twice.

        Raises:
            RequestError: a part is missing, or too few people are left.

        """
        parts = self._arriving.parts if self._arriving.id == request.cohort else {}
        if not parts or set(parts) != set(range(request.parts)):
            raise RequestError("the cohort did not arrive whole; build it again")
        self._arriving = _Arriving("")
        chosen = await asyncio.to_thread(core.choose_cohort, np.concatenate([parts[n] for n in sorted(parts)]), listed)
        if len(chosen.templates) < MIN_PEOPLE:
            raise RequestError(
                f"a cohort needs at least {MIN_PEOPLE} people, not {len(chosen.templates)}; give more photos"
            )
        return await self._write(chosen.templates, now), chosen

    async def cleared(self, identity: str, listed: NDArray[np.float32]) -> tuple[str, int]:
        """Give the id of the cohort without whoever is on the list now, and how many were taken out."""
        record, templates = self.record(identity), await self.templates(identity)
        if record is None or templates is None:
            return identity, 0
        named = core.resembling(templates, listed)
        if not named.any():
            return identity, 0
        if len(templates) - int(named.sum()) < MIN_PEOPLE:
            log.warning("the cohort is too small to lose those who are on the list; build a larger one")
            return identity, 0
        return (await self._write(templates[~named], record.built_at)).id, int(named.sum())

    def record(self, identity: str) -> CohortRecord | None:
        """Give what is known of a cohort; None if it is not there or cannot be read."""
        try:
            return self._vault.unsealed(CohortRecord, BUCKET, identity)
        except KeyError:
            return None
        except (sealing.SealError, codec.DecodeError) as error:
            log.error("the cohort cannot be read: %s", error)  # noqa: TRY400
            return None

    async def templates(self, identity: str) -> NDArray[np.float32] | None:
        """Give a cohort's templates (M, D); None if there is none that is whole and of this embedder."""
        if self._loaded and self._loaded[0] == identity:
            return self._loaded[1]
        record = self.record(identity)
        if record is None or record.embedder != self._embedder:
            return None
        try:
            parts = [self._vault.unsealed(CohortPart, BUCKET, f"{identity}.{n}").vectors for n in range(record.parts)]
        except (KeyError, sealing.SealError, codec.DecodeError) as error:
            log.error("the cohort cannot be read: %s", error)  # noqa: TRY400
            return None
        vectors = np.frombuffer(b"".join(parts), "<f4").reshape(-1, self._dimension)
        self._loaded = identity, vectors
        return vectors

    async def only(self, identity: str) -> None:
        """Remove every cohort but this one."""
        for key in [key for key in self._vault.mirrors[BUCKET].entries if key.split(".")[0] != identity]:
            await self._vault.delete(BUCKET, key)

    async def _write(self, templates: NDArray[np.float32], built_at: float) -> CohortRecord:
        identity = secrets.token_hex(6)
        share = max(1, COHORT_PART_BYTES // (4 * self._dimension))
        parts = [templates[start : start + share] for start in range(0, len(templates), share)]
        for number, part in enumerate(parts):
            vectors = part.astype("<f4").tobytes()
            record = CohortPart(cohort=identity, number=number, embedder=self._embedder, vectors=vectors)
            await self._vault.write(BUCKET, f"{identity}.{number}", record)
        whole = CohortRecord(
            id=identity, embedder=self._embedder, built_at=built_at, size=len(templates), parts=len(parts)
        )
        await self._vault.write(BUCKET, identity, whole)
        return whole
