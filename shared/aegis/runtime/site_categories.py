"""What of the site file says when an alert is raised: its categories, and what their thresholds are derived from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aegis.contracts.messages import Category, Severity
from aegis.runtime.models import ModelError, load_cards
from aegis.runtime.site_paths import check_mounted
from aegis.runtime.yaml_section import Section, Values
from aegis.vision.calibration import FairnessRow

DEFAULT_CATEGORIES = {"barred": Category()}
VISITS_PER_WEEK = 5000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the thresholds of categories with ``false_alerts_per_week`` are derived from, besides list and cohort."""

    visits_per_week: float = VISITS_PER_WEEK
    """How often somebody who is not on the list walks past a camera."""
    worst_group: float | None = None
    """How many times the mean the false alerts of the worst group may be."""
    fairness: tuple[FairnessRow, ...] = ()
    """What an evaluation of groups has measured."""


def categories(tree: Section, values: Values) -> dict[str, Category]:
    """Read the section ``categories``."""
    if "categories" not in tree:
        return DEFAULT_CATEGORIES
    found: dict[str, Category] = {}
    section = tree.map("categories", values.problems)
    section.only(*section, problems=values.problems)
    for name in section:
        body = section.map(name, values.problems)
        body.only("severity", "threshold", "false_alerts_per_week", "canary", problems=values.problems)
        canary = values.flag(body, "canary")
        if canary and any(category.canary for category in found.values()):
            values.problem(body.line_of("canary"), "canary: another category is the canary's already")
        usual = Severity.LOW if canary else Severity.HIGH
        severity = values.choice(body, "severity", tuple(s.value for s in Severity), usual.value)
        if "threshold" in body and "false_alerts_per_week" in body:
            values.problem(body.line_of("threshold"), "give either threshold or false_alerts_per_week, not both")
        accepts = "false_alerts_per_week" in body
        found[values.as_token(name, "category", section.line_of(name))] = Category(
            severity=Severity(severity or usual),
            threshold=values.number(body, "threshold", Category().threshold, 0.2, 1.0),
            accepted=values.number(body, "false_alerts_per_week", 1.0, 0.001, 10_000) if accepts else None,
            canary=canary,
        )
    return found


def calibration(tree: Section, values: Values, folder: Path | None) -> Calibration:
    """Read the section ``calibration``; an evaluation's path is seen from ``folder``, or is one in a pod."""
    if "calibration" not in tree:
        return Calibration()
    body = tree.map("calibration", values.problems)
    body.only("visits_per_week", "worst_group", "evaluation", problems=values.problems)
    if "worst_group" in body and "evaluation" not in body:
        values.problem(body.line_of("worst_group"), "worst_group: give the evaluation that has measured groups, too")
    return Calibration(
        visits_per_week=values.number(body, "visits_per_week", VISITS_PER_WEEK, 1, 100_000_000),
        worst_group=values.number(body, "worst_group", 3.0, 1, 1000) if "worst_group" in body else None,
        fairness=_evaluation(body, values, folder) if "evaluation" in body else (),
    )


def _evaluation(body: Section, values: Values, folder: Path | None) -> tuple[FairnessRow, ...]:
    """Read how much worse off the worst group is, by threshold, from a report of ``aegis evaluate``."""
    name, line = values.text(body, "evaluation"), body.line_of("evaluation")
    if folder is None:
        check_mounted(values, line, "evaluation", name, "registry")
        return ()
    try:
        report = json.loads((folder / name).read_text())
    except OSError as error:
        values.problem(line, f"evaluation: {name} cannot be read: {error.strerror}")
        return ()
    except ValueError:  # no JSON, or no text
        values.problem(line, f"evaluation: {name} is no report of aegis evaluate")
        return ()
    try:
        rows = tuple(
            FairnessRow(threshold=float(row["threshold"]), worst_over_mean=float(row["worst_over_mean"]))
            for row in report["figures"]["fairness"]
            if row["supported"]  # of the others chance makes what it likes
        )
    except (KeyError, TypeError, ValueError):
        rows = ()
    if not rows:
        values.problem(line, f"evaluation: {name} says too little of groups; see: aegis evaluate --groups")
        return ()
    method, wanted = report.get("method"), _template_version(values.environ)
    measured = str(method.get("Template version", "")) if isinstance(method, dict) else ""
    if wanted and measured != wanted:
        of = measured or "an unknown version"
        values.problem(
            line,
            f"evaluation: {name} measured templates of {of}, and the site's are of {wanted}; evaluate with the site's"
            " embedder",
        )
        return ()
    return rows


def _template_version(environ: Mapping[str, str]) -> str:
    """Give the version of the site's templates; empty where its models cannot be told, which is said elsewhere."""
    cards = environ.get("AEGIS_MODEL_CARDS_DIR")
    try:
        card = load_cards(Path(cards) if cards else None).get(environ.get("AEGIS_EMBEDDER", "sface-2021dec"))
    except ModelError:
        return ""
    return card.template_version if card else ""
