"""Pieces of the report as HTML: rates, tables, paragraphs."""

from collections.abc import Iterable, Sequence
from html import escape

from aegis.cli.evaluation.figures import Point
from aegis.cli.evaluation.searches import percent
from aegis.vision.error_rates import Rate

NOTHING = "&ndash;"
MARK = '<span class="mark">not supported</span>'


def missed(point: Point) -> str:
    """Show an FNIR, or how many searches the threshold that it is at would need."""
    return needs(point.needed, "searches") if point.fpir.value is None else shown(point.fnir, told=point.told)


def needs(number: int, what: str) -> str:
    """Stand in the place of a threshold that the set cannot tell."""
    return f"needs at least {number:,} {what}"


def shown(rate: Rate, *, told: bool = True) -> str:
    """Show a rate; at a threshold that cannot be ``told`` from the set, it is not supported either."""
    if rate.value is None:
        return NOTHING
    low, high = rate.interval
    holds = told and rate.supported
    detail = f"{percent(low)} to {percent(high)}<br>{rate.errors:,} of {rate.trials:,}"
    text = f"<b>{percent(rate.value)}</b><span class='n'>{detail}</span>"
    return text if holds else f"<span class='unsupported'>{text}</span>{MARK}"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out cells that are HTML already; nothing where there is no row."""
    lines = [
        f"<tr><th scope='row'>{first}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for first, *cells in rows
    ]
    if not lines:
        return ""
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    titled = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f"<div class='scroll'><table>{titled}{body}</table></div>"


def paragraph(text: str) -> str:
    return f"<p>{lead(text)}</p>"


def lead(text: str) -> str:
    """Make the first sentence, which names what follows, stand out."""
    first, _, rest = text.partition(". ")
    return f"<strong>{escape(first)}.</strong> {escape(rest)}" if rest else escape(text)
