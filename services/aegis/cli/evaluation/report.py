"""The report that people read: one page of HTML that stands by itself. No name, no photo and no path comes into it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from aegis.cli.evaluation import cells, plots, words
from aegis.cli.evaluation.figures import DRAWS, Acquisition, AtFar, Figures, Identification, Point, Verification
from aegis.cli.evaluation.groups import AtThreshold, Comparison, Grouping
from aegis.cli.evaluation.searches import percent
from aegis.contracts.messages import Category
from aegis.vision.error_rates import SUPPORT
from aegis.vision.scoring import SINGLE_LOOK_MARGIN

TEMPLATE = Path(__file__).with_name("report.html")
SCORES = {"cosine": "plain cosine", "normalised": "normalised"}


def page(figures: Figures, method: Mapping[str, object]) -> str:
    """Lay the figures out; ``method`` are the facts of the run, as a list at the end."""
    sections = [
        *_watchlist(figures),
        *_groups(figures),
        *_verification(figures.verification),
        *_acquisition(figures.acquisition),
    ]
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in method.items())
    people = f"{figures.photos:,} photos of {figures.people:,} people"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title="How often does this watchlist err?",
        subtitle=escape(f"Aegis, measured on {people}, {method['Date']}"),
        summary="\n".join(cells.paragraph(text) for text in words.summary(figures)),
        sections="\n".join(sections),
        not_shown="\n".join(f"<li>{cells.lead(text)}</li>" for text in words.NOT_SHOWN),
        method=f"<dl>{facts}</dl>",
    )


def _watchlist(figures: Figures) -> Iterator[str]:
    if not figures.identification:
        return
    product = figures.identification[-1]
    yield "<h2>On a watchlist</h2>"
    yield (
        f"<p>{product.enrolled:,} people were enrolled with one photo each{_only(figures)}. {_searched(product)} Each"
        " photo was one look, as one frame of a camera is. FPIR is the share of searches of people not on the list that"
        " point at somebody; FNIR the share of searches of people on it that do not find them under their own name.</p>"
    )
    yield f"<p>{_cohort(figures)}</p>"
    yield cells.table(
        "One enrolled photo, one look. The threshold is what a site sets; one look alone needs "
        f"{SINGLE_LOOK_MARGIN:.2f} more.",
        ("At", "Score", "Threshold", "FPIR", *(("FNIR",) if product.mated else ())),
        (
            (
                point.why,
                SCORES[found.scores],
                _threshold(point.threshold, point.needed, "searches"),
                cells.shown(point.fpir),
                *((cells.shown(point.fnir, told=point.told),) if found.mated else ()),
            )
            for points in zip(*([found.default, *found.points] for found in figures.identification), strict=True)
            for found, point in zip(figures.identification, points, strict=True)
        ),
    )
    curves = {SCORES[found.scores]: found.curve for found in figures.identification}
    if product.mated:
        drawn = plots.det(curves, "FPIR: pointed at wrongly", "FNIR: not found", "FNIR against FPIR")
        yield from _curve(drawn, "FPIR", product.non_mated)
    yield cells.table(
        "The same with thresholds that other people of the set asked for: each half of the people was searched at the"
        " threshold of the other half. This is what a site that calibrates may hope for.",
        ("Asked for", "Score", "FPIR found", *(("FNIR found",) if product.mated else ())),
        (
            (point.why, SCORES[found.scores], *_held_out(point)[: 2 if found.mated else 1])
            for found in figures.identification
            for point in found.points
        ),
    )
    yield cells.table(
        f"The product's score with other people enrolled, searched and set aside each time, in {DRAWS} draws: at a low"
        " FPIR a few photos, or a few wrong names, decide what one draw says.",
        ("At", "FNIR, median", "Least", "Most"),
        ((f"FPIR {percent(s.wanted)}", *map(percent, (s.median, s.least, s.most))) for s in figures.redrawn),
    )
    yield f"<p>{_besides(product.default)}</p>"
    if figures.doubtful:
        yield (
            f"<p>{figures.doubtful:,} pairs of people in this set look like one person under two names, and count as"
            " errors here. At the lowest FPIRs they can be most of the errors.</p>"
        )
    yield from _compared(figures.compared)


def _threshold(threshold: float, needed: int, what: str) -> str:
    """Give a threshold, or how many trials it needs."""
    return f"{threshold:.3f}" if math.isfinite(threshold) else cells.needs(needed, what)


def _held_out(point: Point) -> tuple[str, str]:
    """Show FPIR and FNIR at thresholds of others, or how many searches both halves need."""
    if point.held_out is None:
        return cells.needs(2 * point.needed, "searches"), cells.NOTHING
    false, missed = point.held_out
    return cells.shown(false), cells.shown(missed, told=point.told)


def _curve(drawn: str, rate: str, trials: int) -> Iterator[str]:
    """Give a curve and say from where on it is hardly more than chance, or that there is none."""
    if not drawn:
        yield "<p class='soft'>There are too few errors for a curve.</p>"
        return
    yield drawn
    least = percent(min(1.0, SUPPORT / trials))
    yield f"<p class='soft'>Below {rate} {least} the curve rests on fewer than five errors: not supported.</p>"


def _only(figures: Figures) -> str:
    return f", all of them {escape(figures.enrol_only)}" if figures.enrol_only else ""


def _searched(found: Identification) -> str:
    others = f"{found.non_mated:,} searches were of {found.non_mated_people:,} people who are not on the list."
    if not found.mated:
        return f"{others} Nobody on the list has a second photo, so FNIR could not be measured."
    return f"{found.mated:,} searches were of {found.mated_people:,} of them, by their other photos. {others}"


def _cohort(figures: Figures) -> str:
    if not figures.cohort_people:
        return "There are too few people for a cohort, so scores are plain cosines."
    left_out = (
        f" {figures.cohort_left_out:,} others resemble somebody who is enrolled or searched, and were left out."
        if figures.cohort_left_out
        else ""
    )
    return (
        f"Normalised scores use a cohort of {figures.cohort_people:,} people ({escape(figures.cohort_from)}), none of"
        f" whom is enrolled or searched as far as their faces tell.{left_out}"
    )


def _besides(point: Point) -> str:
    text = ""
    if point.misnamed.trials:
        text += (
            f"At the threshold {point.threshold:.2f}, searches of people on the list pointed at somebody else:"
            f" {words.one_line(point.misnamed)}. "
        )
    if point.beside.trials:
        text += (
            f"{point.beside.trials:,} photos of people not on the list show other faces too. At the threshold"
            f" {point.threshold:.2f}, such a face was pointed at in {point.beside.errors:,} of them. Nobody says who it"
            " is, and it may be somebody on the list, so these count neither as errors nor as successes."
        )
    return text


def _compared(found: Sequence[Identification]) -> Iterator[str]:
    yield "<h3>More photos, more looks</h3>"
    if not found:
        yield "<p>Too few people have four photos to compare.</p>"
        return
    one = found[0]
    yield (
        f"<p>The same {one.enrolled:,} people each time, against {one.non_mated_people:,} people who are not enrolled;"
        f" scores are {SCORES[one.scores]}. Two looks are weighed together as those of one track are.</p>"
    )
    yield cells.table(
        "FNIR at a stated FPIR",
        ("Photos enrolled", "Looks", "Searches", *(f"At {point.why}" for point in one.points[:2])),
        (
            (str(e.photos), str(e.looks), f"{e.mated:,} and {e.non_mated:,}", *(cells.missed(p) for p in e.points[:2]))
            for e in found
        ),
    )


def _groups(figures: Figures) -> Iterator[str]:
    yield "<h2>For whom is it worse?</h2>"
    if figures.uniform:
        yield f"<p>{escape(words.same_everywhere(figures.uniform))}</p>"
    elif not figures.groups:
        yield "<p>No groups were given. Give a CSV with --groups to compare groups of people.</p>"
    if not figures.groups:
        return
    yield (
        "<p>The groups are labels that came with the photos. Aegis itself guesses nothing about anybody. FMR and FNMR"
        " are of single pairs of photos, both of the same group; thresholds of pairs are plain cosines. The first"
        " threshold of searches is the one at which every group expects five errors.</p>"
    )
    for grouping in figures.groups:
        yield f"<h3>By {escape(grouping.name)}</h3>"
        yield from _grouping(grouping)


def _grouping(grouping: Grouping) -> Iterator[str]:
    if grouping.small:
        small = ", ".join(f"{group} ({people})" for group, people in grouping.small.items())
        yield f"<p class='soft'>Too few people to compare: {escape(small)}.</p>"
    if not grouping.people:
        return
    if len(grouping.people) == 1:
        yield f"<p>{words.ONE_GROUP}</p>"
    for at in grouping.searches[:1]:
        if grouping.lowest_fpir and at.false.disparity:
            yield f"<p>{escape(words.worse(at, Category().threshold))}</p>"
            title = f"FPIR by {escape(grouping.name)}"
            yield plots.intervals(at.false.rates, "FPIR, with its 95 % interval", title)
    if not grouping.searches:
        yield "<p class='soft'>There are too few searches to compare.</p>"
    yield cells.table("Searches", *_side_by_side(grouping, grouping.searches[:2], "FPIR", "FNIR"))
    yield cells.table("Pairs within a group", *_side_by_side(grouping, grouping.pairs[:2], "FMR", "FNMR"))
    yield cells.table(
        "Photos that could not be used",
        ("Group", "People", "No usable look", "Not enrolled"),
        (
            (
                escape(g),
                f"{people:,}",
                cells.shown(grouping.no_look.rates[g]),
                cells.shown(grouping.not_enrolled.rates[g]),
            )
            for g, people in grouping.people.items()
        ),
    )


def _side_by_side(
    grouping: Grouping, points: Sequence[AtThreshold], false: str, missed: str
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Give the head and the rows of a table of groups, and what the worst is to the others."""
    columns: list[tuple[str, Comparison, bool]] = []
    for at in points:
        columns.append((f"{false} at {at.threshold:.3f}", at.false, True))
        if at.missed:
            columns.append((f"{missed} at {at.threshold:.3f}", at.missed, at.told))
    rows: list[Sequence[str]] = [
        (escape(group), *(cells.shown(compared.rates[group], told=told) for _, compared, told in columns))
        for group in grouping.people
    ]
    if len(grouping.people) > 1:
        rows.append(
            ("Worst against mean", *(_ratio(compared, "worst_over_mean", told=told) for _, compared, told in columns))
        )
        rows.append(
            ("Worst against best", *(_ratio(compared, "worst_over_best", told=told) for _, compared, told in columns))
        )
    return ("Group", *(name for name, _, _ in columns)), rows if columns else []


def _ratio(compared: Comparison, name: str, *, told: bool) -> str:
    differ = compared.disparity
    ratio = getattr(differ, name) if differ else None
    if differ is None or ratio is None:
        return cells.NOTHING
    return f"<b>{ratio:.1f} times</b> {'' if told and differ.supported else cells.MARK}"


def _verification(found: Verification | None) -> Iterator[str]:
    yield "<h2>On pairs of photos</h2>"
    if found is None:
        yield "<p>There are no two people to compare.</p>"
        return
    yield (
        f"<p>All pairs of {found.photos:,} photos of {found.people:,} people, by plain cosine: {found.mated:,} of one"
        f" person and {found.non_mated:,} of two. TAR is the share of pairs of one person that reach the threshold.</p>"
    )
    yield cells.table(
        "At stated false accept rates",
        ("FAR", "Threshold", "FAR found", "TAR", "Misses, 1 - TAR"),
        (
            (
                f"{at.wanted:g}",
                _threshold(at.threshold, at.needed, "pairs"),
                cells.shown(at.far),
                _kept(at),
                cells.shown(at.missed, told=at.told),
            )
            for at in found.at
        ),
    )
    if found.mated:
        drawn = plots.det({"plain cosine": found.curve}, "FAR", "misses (1 - TAR)", "Misses against FAR on pairs")
        yield from _curve(drawn, "FAR", found.non_mated)
    if found.folds:
        folds = found.folds
        yield (
            f"<p>Accuracy in ten folds that share no person, {folds.errors.trials:,} pairs, half of them of one person:"
            f" <b>{100 * folds.mean:.2f} %</b>, standard deviation {100 * folds.deviation:.2f} points; wrong:"
            f" {words.one_line(folds.errors)}.</p>"
        )
    else:
        yield "<p>There are too few pairs of one person for accuracy in ten folds.</p>"


def _kept(at: AtFar) -> str:
    """Show a TAR, which is as good as the misses that it is without."""
    if at.missed.value is None:
        return cells.NOTHING
    share = f"<b>{100 * (1 - at.missed.value):.2f} %</b>"
    return share if at.told and at.missed.supported else f"<span class='unsupported'>{share}</span>"


def _acquisition(found: Acquisition) -> Iterator[str]:
    yield "<h2>Photos that could not be used</h2>"
    yield cells.table(
        "",
        ("", "Rate", "Why"),
        (
            ("Not a picture", cells.shown(found.unreadable), ""),
            ("Failure to detect: no face found", cells.shown(found.no_face), ""),
            (
                "Failure to acquire: no usable look",
                cells.shown(found.no_look),
                _reasons(found.flaws, "faces refused: "),
            ),
            ("Failure to enrol", cells.shown(found.not_enrolled), _reasons(found.refusals, "")),
        ),
    )
    yield (
        f"<p>{found.copies:,} photos were left out, each the same as one of somebody else. {found.people_lost:,} people"
        " have no photo that can be used. A search without a usable look counts as a miss of a listed person and as no"
        " alert for anybody else.</p>"
    )


def _reasons(counts: Mapping[str, int], lead: str) -> str:
    return escape(lead + ", ".join(f"{reason} {number:,}" for reason, number in counts.items())) if counts else ""
