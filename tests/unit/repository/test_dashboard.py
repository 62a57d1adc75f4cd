"""The dashboard's file is the one that its script makes, and asks only for metrics that there are."""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from load_tests.report import dashboard_picture
from scripts import dashboard
from scripts.dashboard_panels import ROWS
from sightline_server.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules"
METRIC = re.compile(r"\bsightline_\w+")
RECORD = re.compile(r"record: (\S+)")
RECORDED = re.compile(r"\b(?:job|batcher|catalog):[\w:]+")


def series() -> set[str]:
    """Every name that a scrape of the server may hold."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    families = [family for family in Metrics().registry.collect() if family.name.startswith("sightline_")]
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def recorded() -> set[str]:
    """Every name that the recording rules make."""
    return {name for path in RULES.glob("*recording.yml") for name in RECORD.findall(path.read_text())}


def graphs() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]


def test_the_file_is_what_the_script_makes() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "scripts.dashboard", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_a_changed_file_is_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "sightline.json"
    changed.write_text(dashboard.text().replace("Traffic", "Trafic"))
    monkeypatch.setattr(dashboard, "OUT", changed)
    monkeypatch.setattr(sys, "argv", ["dashboard", "--check"])
    assert dashboard.main() == 1


def test_panels_do_not_overlap_and_stay_on_the_page() -> None:
    places = [panel["gridPos"] for panel in json.loads(dashboard.text())["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)


def test_panels_have_their_own_number_title_and_a_description() -> None:
    panels = graphs()
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels)


def test_each_question_of_the_sre_has_a_row() -> None:
    titles = " ".join(row.title.lower() for row in ROWS)
    for word in ("traffic", "errors", "latency by stage", "queues", "batches", "engine", "index", "saturation"):
        assert word in titles


def test_the_dashboard_asks_only_for_metrics_and_records_that_there_are() -> None:
    expressions = " ".join(target["expr"] for panel in graphs() for target in panel["targets"])
    asked = set(RECORDED.findall(expressions))
    assert asked
    assert asked <= recorded()
    without_records = RECORDED.sub("", expressions)
    assert set(METRIC.findall(without_records)) <= series()


def test_every_metric_of_the_server_is_used_by_dashboard_or_rules() -> None:
    used = dashboard.text() + "".join(path.read_text() for path in RULES.glob("*.yml"))
    names = {family.name for family in Metrics().registry.collect() if family.name.startswith("sightline_")}
    # What the process was built from is read, not watched.
    assert {name for name in names if name not in used} == {"sightline_build_info"}


def test_the_picture_shows_panels_that_there_are() -> None:
    titles = {panel["title"] for panel in json.loads(dashboard.text())["panels"]}
    assert set(dashboard_picture.PANELS) <= titles
