"""Makes `deploy/grafana/sightline.json` of `dashboard_panels/`; `--check` says whether the file is up to date."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scripts.dashboard_panels import ROWS
from scripts.dashboard_panels.panel import OURS, Panel, Query, Row

OUT = Path(__file__).parents[1] / "deploy" / "grafana" / "sightline.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
STAT_HEIGHT = 4
GRAPH_HEIGHT = 8


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's schema."""
    return {
        "title": "Sightline",
        "uid": "sightline",
        "description": "Made by scripts/dashboard.py. Alerts: deploy/prometheus. What to do: docs/operate/runbook.md.",
        "tags": ["sightline"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [restarts_annotation()]},
        "templating": {"list": [datasource_variable(), instance_variable()]},
        "panels": placed(ROWS),
    }


def restarts_annotation() -> dict[str, Any]:
    """Marks restarts of the engine on every graph."""
    return {
        "name": "Engine restarted",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": f"sum by (instance, kind) (changes(sightline_engine_restarts_total{{{OURS}}}[$__interval])) > 0",
        "titleFormat": "{{instance}}: {{kind}}",
    }


def datasource_variable() -> dict[str, Any]:
    """The variable that chooses the Prometheus."""
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def instance_variable() -> dict[str, Any]:
    """The variable that chooses replicas; all by default."""
    return {
        "name": "instance",
        "label": "Replica",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(sightline_engine_ready, instance)", "refId": "instance"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def placed(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    """The panels of the rows with their positions, from left to right and down."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        panels.append(row_header(row, len(panels) + 1, y))
        x, height, y = 0, 0, y + 1
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, height, y = 0, 0, y + height
            tall = STAT_HEIGHT if panel.kind == "stat" else GRAPH_HEIGHT
            panels.append(drawn(panel, len(panels) + 1, {"x": x, "y": y, "w": panel.width, "h": tall}))
            x, height = x + panel.width, max(height, tall)
        y += height
    return panels


def row_header(row: Row, number: int, y: int) -> dict[str, Any]:
    """A row's title."""
    place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """One panel in Grafana's schema."""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [target(query, position, panel.kind) for position, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": field_defaults(panel), "overrides": []},
        "options": stat_options(panel) if panel.kind == "stat" else graph_options(),
    }


def target(query: Query, position: int, kind: str) -> dict[str, Any]:
    """One query of a panel."""
    return {
        "refId": chr(ord("A") + position),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": kind == "stat",
        "range": kind != "stat",
    }


def field_defaults(panel: Panel) -> dict[str, Any]:
    """Unit, colours and line style."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.good is not None:
        steps = [{"color": "red" if panel.good else "green", "value": None}]
        steps.append({"color": "green" if panel.good else "red", "value": 1})
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "off" if panel.red_from is None else "line"},
        }
    else:
        defaults["color"] = {"mode": "thresholds"}
    return defaults


def graph_options() -> dict[str, Any]:
    """Legend and tooltip of a graph."""
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def stat_options(panel: Panel) -> dict[str, Any]:
    """A figure shows its name only where there are several."""
    several = bool(panel.queries[0].legend)
    return {
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value_and_name" if several else "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Writes the file, or checks it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    if parser.parse_args().check:
        if OUT.is_file() and OUT.read_text(encoding="utf-8") == text():
            return 0
        print(f"{OUT.name} is stale: run `python -m scripts.dashboard`", file=sys.stderr)
        return 1
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
