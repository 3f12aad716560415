"""Figures in words and in plain language, for people who never read a table of error rates."""

import math
from collections.abc import Iterator, Sequence

from aegis.cli.evaluation.figures import Figures, Identification
from aegis.cli.evaluation.groups import MIN_GROUP, AtThreshold, Grouping
from aegis.cli.evaluation.searches import SEARCHES_EACH, percent
from aegis.vision.error_rates import SUPPORT, Rate

SCHOOL_DAYS = 180
VISITS_A_DAY = 500
VISITS = SCHOOL_DAYS * VISITS_A_DAY
MANY = 10
NAMED = 10
"""Things of one kind that are named on the terminal; the rest is counted."""
MANY_ALIKE, ALIKE_SHARE = 3, 0.01
"""With so many pairs who look like one person, and in so many of the searches, labels are more likely to be wrong."""
MUCH_LOWER = 0.1
RARE_ALARM, RARE_MISS = 1e-3, 0.05
"""A set is large enough to say how often it errs if it could tell an error as rare as this."""
ONE_GROUP = "Only one group is large enough, so there is nothing to compare."

NOT_SHOWN = (
    "Cameras. These are still photos. Motion, bad light, distance and masks miss more; more looks point wrongly more.",
    "Your people. The photos are of the people in this set, with its ages, its skin colours and its cameras.",
    "Look-alikes. Close relatives, twins above all, are mistaken for each other far more often.",
    "Time. A person who was enrolled with an old photo is missed more often, a child much more often.",
    "What people do. A person decides about every alert; whether that decision is right was not measured.",
    "Wrong labels. Somebody who is in the set under two names counts as an error of the system.",
)


def count(number: float) -> str:
    """Write a number of events as people say it."""
    if number == 0:
        return "none"
    if number >= MANY:
        places = math.floor(math.log10(number)) - 1
        return f"{round(number, -places):,.0f}"
    return f"{number:.0f}" if number >= 1 else "less than one"


def _about(number: float) -> str:
    return f"about {count(number)}" if number >= 1 else count(number)


def one_line(rate: Rate) -> str:
    """Write a rate with its interval and its sample."""
    if rate.value is None:
        return "not measured"
    low, high = rate.interval
    mark = "" if rate.supported else ", not supported"
    return f"{percent(rate.value)} ({percent(low)} to {percent(high)}; {rate.errors:,} of {rate.trials:,}{mark})"


def notes(figures: Figures) -> Iterator[str]:
    """Say what could not be used, for the terminal."""
    lost = figures.acquisition
    if lost.refusals:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in lost.refusals.items())
        yield f"{lost.not_enrolled.errors:,} of {lost.not_enrolled.trials:,} photos could not be enrolled: {reasons}"
    small = [f"{group} ({people})" for grouping in figures.groups for group, people in grouping.small.items()]
    if small:
        named = "; ".join(small[:NAMED]) + (f"; and {len(small) - NAMED:,} more" if len(small) > NAMED else "")
        groups = f"{len(small):,} group{'s' * (len(small) != 1)}"
        yield f"{groups} with fewer than {MIN_GROUP} people left uncompared: {named}"
    if figures.uniform:
        yield f"left out of the groups: {same_everywhere(figures.uniform)}"


def summary(figures: Figures) -> Iterator[str]:
    """Say what it means for a school, a paragraph each."""
    if not figures.identification:
        yield "Nobody could be enrolled from these photos, so no watchlist was measured."
        return
    product = figures.identification[-1]
    yield from _two_names(figures, product)
    yield from _pointed_at(product)
    yield from _missed(figures, product)
    yield from _worse(figures, product.default.threshold)


def _two_names(figures: Figures, product: Identification) -> Iterator[str]:
    """Warn where people under two names may make most of the errors."""
    if figures.doubtful < MANY_ALIKE or figures.doubtful < ALIKE_SHARE * product.non_mated:
        return
    yield (
        f"Check the names first. {figures.doubtful:,} pairs of people in this set look like one person under two names,"
        f" in {product.non_mated:,} searches of people who are not on the list. If they are, the wrong alarms below are"
        " mostly none. A photo that lies in the folder itself counts as a person of its own, and a CSV's column person"
        " says who is who. The terminal named the pairs."
    )


def _pointed_at(product: Identification) -> Iterator[str]:
    false = product.default.fpir
    if false.value is None:
        return
    low, high = (bound * VISITS for bound in false.interval)
    school = f"A school with {VISITS_A_DAY} people a day on {SCHOOL_DAYS} days sees {VISITS:,} visits a year."
    at = (
        f"With a list of {product.enrolled:,} people and the threshold that a category has unless it sets one"
        f" ({product.default.threshold:.2f}), one look at each visitor would point wrongly at"
    )
    ask = "A person must look at each alert before anybody acts."
    if _too_small(false, RARE_ALARM):
        needed = math.ceil(SUPPORT / RARE_ALARM)
        yield (
            f"Wrongly pointed at: the set is too small to say how often, anything from {count(low)} to as many as"
            f" {count(high)} a year. {school} {at} so many of them; in the set it was {false.errors:,} of"
            f" {false.trials:,} searches of people who are not on the list. To tell one in {1 / RARE_ALARM:,.0f}, about"
            f" {needed:,} such searches are needed: {needed:,} people with one photo each, or"
            f" {needed // SEARCHES_EACH:,} with {SEARCHES_EACH}. {ask}"
        )
        return
    few = f" Only {false.errors:,} of {false.trials:,} searches did." if not false.supported else ""
    yield (
        f"Wrongly pointed at. {school} {at} {_about(false.value * VISITS)} of them a year ({count(low)} to"
        f" {count(high)}).{few} A list a tenth as long points wrongly about a tenth as often. {ask}"
    )


def _too_small(rate: Rate, share: float) -> bool:
    """Whether a rate rests on too few errors, and so would one of this ``share``."""
    return not rate.supported and share * rate.trials < SUPPORT


def _missed(figures: Figures, product: Identification) -> Iterator[str]:
    missed = product.default.fnir
    if missed.value is None:
        yield "Missed. The set has one photo of each person, so it does not say how often a listed person is missed."
        return
    low, high = missed.interval
    unnoticed = "would go unnoticed with one enrolled photo and one look at that threshold"
    text = (
        f"Missed. Of 100 visits of people on the list, {_about(100 * missed.value)} ({count(100 * low)} to"
        f" {count(100 * high)}) {unnoticed}."
    )
    if _too_small(missed, RARE_MISS):
        text = (
            f"Missed: the set is too small to say how often, anything from {count(100 * low)} to {count(100 * high)} of"
            f" 100 visits of people on the list. So many {unnoticed}; in the set it was {missed.errors:,} of"
            f" {missed.trials:,} searches. To tell {100 * RARE_MISS:.0f} in 100, about {SUPPORT / RARE_MISS:,.0f} such"
            " searches are needed, by other photos of people who are enrolled."
        )
    best = figures.compared[-1] if figures.compared else None
    if best and best.default.fnir.value is not None:
        text += f" With two photos enrolled and two looks: {one_line(best.default.fnir)}."
    yield text


def _worse(figures: Figures, usual: float) -> Iterator[str]:
    """Tell of the columns in which the groups differ most, and name the others; ``usual`` is a site's threshold."""
    searched = [(grouping, at) for grouping in figures.groups for at in grouping.searches[:1]]
    paired = [(grouping, at) for grouping in figures.groups for at in grouping.pairs]
    found = [(grouping, worse(at, usual)) for grouping, at in _worst(searched, 2)]
    found += [(grouping, worse_pairs(at)) for grouping, at in _worst(paired, 1)]
    if not found:
        yield f"For whom it is worse. {_nothing_found(figures)}"
    for grouping, text in found:
        yield f"For whom it is worse, by {grouping.name}. {text}"
    told = {grouping.name for grouping, _ in found}
    others = [group.name for group in figures.groups if len(group.people) > 1 and group.name not in told]
    if others:
        yield f"For whom it is worse, further below. Groups were also measured by {'; by '.join(others)}."


def _nothing_found(figures: Figures) -> str:
    """Say why no groups can be told of."""
    most = max((len(grouping.people) for grouping in figures.groups), default=None)
    if most is None:
        return same_everywhere(figures.uniform) or "No groups were given, so this does not say."
    if most == 0:
        return "Every group is too small to say."
    return ONE_GROUP if most == 1 else "The groups have too few errors to compare."


def same_everywhere(columns: Sequence[str]) -> str:
    """Name the columns that compare nothing; nothing where there is none."""
    return f"Only one value, so nothing to compare: {', '.join(columns)}." if columns else ""


def _worst(those: Sequence[tuple[Grouping, AtThreshold]], most: int) -> Sequence[tuple[Grouping, AtThreshold]]:
    """Give the columns in which the groups differ most, as far as the sample supports it."""
    ratios = [
        (differ.worst_over_mean, grouping, at)
        for grouping, at in those
        if (differ := at.false.disparity) and differ.supported and differ.worst_over_mean
    ]
    return [(grouping, at) for _, grouping, at in sorted(ratios, key=lambda item: -item[0])[:most]]


def worse(at: AtThreshold, usual: float) -> str:
    """Say which group is pointed at most, at a threshold that is mostly far below the ``usual`` one."""
    where = f"At the threshold {at.threshold:.2f}"
    if at.threshold < usual:
        much = "much " if usual - at.threshold >= MUCH_LOWER else ""
        where = (
            f"At a {much}lower threshold than a category has unless it sets one, {at.threshold:.2f} instead of"
            f" {usual:.2f}, so that there are errors to compare"
        )
    return _worse_group(at, where, "were wrongly pointed at", "searches")


def worse_pairs(at: AtThreshold) -> str:
    """Say in which group two people are taken for each other most."""
    where = f"At the threshold {at.threshold:.2f} for single pairs of photos"
    return _worse_group(at, where, "were taken for each other", "pairs")


def _worse_group(at: AtThreshold, where: str, what: str, trials: str) -> str:
    """Say which group has the highest rate of false alarms; ``what`` it is that happens to its people."""
    differ = at.false.disparity
    if differ is None:
        return ONE_GROUP
    if differ.worst_over_mean is None:
        return f"{where}, no group has an error."
    worst, best = at.false.rates[differ.worst], at.false.rates[differ.best]
    counts = f"{worst.errors:,} of {worst.trials:,} {trials} against {best.errors:,} of {best.trials:,}"
    if differ.worst_over_best and f"{differ.worst_over_best:.1f}" == "1.0":
        return f"{where}, no difference was found ({differ.worst} and {differ.best}: {counts})."
    than_best = (
        f" and {differ.worst_over_best:.1f} times as often as those labelled {differ.best}"
        if differ.worst_over_best
        else f", and those labelled {differ.best} not at all"
    )
    chance = " The intervals of these two overlap: it may be chance." if worst.interval[0] <= best.interval[1] else ""
    return (
        f"{where}, people labelled {differ.worst} {what} {differ.worst_over_mean:.1f} times as often as the mean of the"
        f" groups{than_best} ({counts}).{chance}"
    )
