"""Curves and comparisons as SVG that stands inside a page."""

import io
import re
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from aegis.vision.error_rates import Rate

COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7c3aed")
"""Told apart by people who do not see red and green, too; lines also differ in their dashes."""
DASHES = ("-", "--", "-.", ":")
WIDTH = 4.6
"""Inches: as wide as a phone, so that the writing keeps its size there."""
LEAST = 1e-6

Curve = Sequence[tuple[float, float, float | None]]


def det(curves: Mapping[str, Curve], across: str, up: str, name: str) -> str:
    """Draw false alarms against misses, both on logarithmic axes; nothing where they never happen at two thresholds.

    ``name`` tells what it shows to those who cannot see it.
    """
    drawn = {
        label: ([x for x, _ in points], [y for _, y in points])
        for label, curve in curves.items()
        if len(points := [(x, y) for _, x, y in curve if y is not None and x > LEAST and y > 0]) > 1
    }
    if not drawn:
        return ""

    def draw(axes: Axes) -> None:
        for (label, (x, y)), dashes, colour in zip(drawn.items(), DASHES, COLOURS, strict=False):
            axes.plot(x, y, dashes, color=colour, label=label)
        axes.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.set_major_formatter(FuncFormatter(_share))
            axis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))
        axes.grid(visible=True, which="major", color="#ddd", linewidth=0.6)
        axes.legend(frameon=False)

    return _svg(draw, 3.2, name)


def intervals(rates: Mapping[str, Rate], across: str, name: str) -> str:
    """Draw each group's rate with its interval, one below the other."""
    known = [(group, rate, rate.value) for group, rate in rates.items() if rate.value is not None]

    def draw(axes: Axes) -> None:
        for place, (_, rate, value) in enumerate(known):
            low, high = rate.interval
            colour = COLOURS[0] if rate.supported else "#999"
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([value], [place], "o", color=colour)
        axes.set(yticks=range(len(known)), yticklabels=[group for group, _, _ in known], xlabel=across)
        axes.set_xlim(left=0)
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.xaxis.set_major_formatter(FuncFormatter(_share))
        axes.grid(visible=True, axis="x", color="#ddd", linewidth=0.6)

    return _svg(draw, 0.8 + 0.27 * len(known), name)


def _share(value: float, _place: object) -> str:
    return f"{100 * value:.4g} %"


def _svg(draw: Callable[[Axes], None], height: float, name: str) -> str:
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": name,
            "text.parse_math": False,
            "font.size": 9,
            "font.family": "sans-serif",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#888",
        }
    ):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    # Names that nothing refers to would stand twice in a page with two pictures.
    drawn = re.sub(r' id="[\w.]+_\d+"', "", drawn)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
