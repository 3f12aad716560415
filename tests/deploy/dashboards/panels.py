"""What a Grafana dashboard is made of, as data, and the JSON that Grafana reads.

``$namespace`` is the site's, and only its series are shown. Descriptions say what a reader does with a panel.
"""

from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 24, 8
"""Of a dashboard, and of a graph, in Grafana's grid."""
NS = 'namespace="$namespace"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph, or where ``kind`` is ``stat`` a number; each query with its legend."""

    title: str
    about: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    red_from: float | None = None
    """From this value on a number is red; below it, green."""
    red_below: float | None = None
    words: tuple[tuple[str, str], ...] = ()
    """What stands for a value."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page. Its uid is the name of its file."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]


def stat(title: str, about: str, unit: str, query: str, **more: Any) -> Panel:
    return Panel(title, about, unit, ((query, more.pop("legend", "")),), kind="stat", width=4, **more)


def quantiles(metric: str, by: str = "", where: str = "", shares: tuple[float, ...] = (0.5, 0.99)) -> Any:
    """Give the queries for quantiles of a histogram."""
    labels = f"{NS},{where}" if where else NS
    group = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        (
            f"histogram_quantile({share}, sum by ({group}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))",
            f"p{share * 100:g}{legend}",
        )
        for share in shares
    )


def rate(metric: str, by: str, where: str = "") -> tuple[tuple[str, str], ...]:
    """Give the query for a counter's growth a second, by one label."""
    labels = f"{NS},{where}" if where else NS
    return ((f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))", f"{{{{{by}}}}}"),)


def document(dashboard: Dashboard) -> dict[str, Any]:
    """Give a dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        y, x, tallest = y + 1, 0, 0
        for panel in row.panels:
            height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
            if x + panel.width > WIDTH:
                y, x, tallest = y + tallest, 0, 0
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            panels.append(_panel(panel, len(panels) + 1, place))
            x, tallest = x + panel.width, max(tallest, height)
        y += tallest
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["aegis"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "links": [
            {
                "type": "dashboards",
                "tags": ["aegis"],
                "title": "Aegis",
                "asDropdown": True,
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    query = "label_values(aegis_build_info, namespace)"
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "namespace",
            "label": "Site",
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "namespace"},
            "refresh": 2,
            "sort": 1,
        },
    ]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    stat_panel = panel.kind == "stat"
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": _thresholds(panel)}
    if panel.words:
        texts = {value: {"text": text, "index": n} for n, (value, text) in enumerate(panel.words)}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    if stat_panel:
        options: dict[str, Any] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "textMode": "name" if panel.words else "value",
            "colorMode": "value" if panel.red_from is not None or panel.red_below is not None else "none",
            "graphMode": "none",
        }
    else:
        defaults |= {
            "min": None if panel.title.startswith("Clocks") else 0,
            "custom": {
                "fillOpacity": 30 if panel.stacked else 0,
                "stacking": {"mode": "normal" if panel.stacked else "none"},
                "showPoints": "never",
            },
        }
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": DATASOURCE, "expr": query, "legendFormat": legend or "__auto"}
            | ({"instant": True} if stat_panel else {})
            for n, (query, legend) in enumerate(panel.queries)
        ],
    }


def _thresholds(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    if panel.red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.red_below}]
    return {"mode": "absolute", "steps": steps}
