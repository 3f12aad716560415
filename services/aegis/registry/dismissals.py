"""How often alerts turned out to be false, by what people dismissed, pure: counts, rates and what chance explains."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from aegis.contracts.reviews import DISMISSED, Review

DAY = 86_400.0
DAYS = 30
UNLIKELY = 0.05
"""A count that chance alone reaches more rarely than this is said to be above what is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissals:
    """Counts by category and entry, over so many seconds."""

    counts: Counter[tuple[str, str]]
    seconds: float

    def category(self, name: str, accepted: float | None) -> dict[str, object]:
        """Describe a category that accepts so many false alerts a week, if it says."""
        entries = {entry: number for (category, entry), number in self.counts.items() if category == name}
        number, weeks = sum(entries.values()), self.seconds / (7 * DAY)
        # From less than a day no rate is told.
        rate = number / weeks if self.seconds >= DAY else None
        problem = ""
        if rate is not None and accepted is not None and reached(number, accepted * weeks) < UNLIKELY:
            problem = (
                f"{number} alerts were dismissed as false, that is {rate:.2g} a week where {accepted:g} is accepted: "
                "more than chance explains"
            )
        return {"count": number, "seconds": self.seconds, "a_week": rate, "entries": entries, "problem": problem}


def count(reviews: Iterable[Review], first: float, now: float) -> Dismissals:
    """Count what was dismissed in the last 30 days, or since ``first``, when there were people who could.

    Whatever the reason given, a dismissed alert counts as a false match; a drill does not count.
    """
    since = max(first, now - DAYS * DAY)
    counts = Counter(
        (change.update.category, change.update.entry)
        for review in reviews
        for change in review.history
        if change.type == DISMISSED and not change.update.drill and change.update.updated_at >= since
    )
    return Dismissals(counts=counts, seconds=max(0.0, now - since))


def reached(number: int, mean: float) -> float:
    """Give the probability that a Poisson variable of this mean reaches ``number``."""
    term, below = math.exp(-mean), 0.0
    for step in range(number):
        below += term
        term *= mean / (step + 1)
    return max(0.0, 1.0 - below)
