"""Alerts, their promtool tests and the runbook say the same; rules ask only for metrics that there are."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from scripts import dashboard
from sightline_server.telemetry.living import LivingSeries
from sightline_server.telemetry.making import Maker
from tests.unit.repository.test_dashboard import METRIC, RECORDED, recorded, series

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules"
ALERTS = "".join((RULES / name).read_text() for name in ("alerts.yml", "catalog-alerts.yml"))
RUNBOOK = (ROOT / "docs" / "operate" / "runbook.md").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)


def each_alert() -> dict[str, str]:
    """The text of each alert by its name."""
    parts = re.split(r"- alert: ", ALERTS)[1:]
    return dict(zip(NAMES, parts, strict=True))


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    assert len(NAMES) > 10
    assert re.findall(r"(?m)^## (\S+)$", RUNBOOK) == NAMES


def test_each_section_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for section in re.split(r"(?m)^## ", RUNBOOK)[1:]:
        assert re.findall(r"(?m)^\*\*(.+?)\.\*\*", section) == ["Means", "Check", "Do"], section.splitlines()[0]
        assert "```" in section or "as in" in section.lower()


def test_links_inside_of_the_runbook_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOK)) <= {name.lower() for name in NAMES}


def test_each_alert_has_a_severity_a_text_and_its_own_place_in_the_runbook() -> None:
    for name, text in each_alert().items():
        assert re.search(r"severity: (page|ticket)\n", text), name
        assert "summary: " in text, name
        assert "description: " in text, name
        assert f"runbook_url: docs/operate/runbook.md#{name.lower()}\n" in text, name


def test_each_alert_has_a_promtool_test_in_which_it_fires() -> None:
    tests = "".join(path.read_text() for path in (RULES.parent / "tests").glob("*.yml"))
    for name in NAMES:
        cases = re.findall(rf"alertname: {name}\n.*\n\s+exp_alerts:(.*)\n", tests)
        assert "" in cases, f"{name} fires in no test"


def test_rules_ask_only_for_metrics_and_records_that_there_are() -> None:
    recording = "".join(path.read_text() for path in RULES.glob("*recording.yml"))
    expressions = re.sub(r"(?m)^\s*#.*$", "", recording + ALERTS)
    asked = set(RECORDED.findall(expressions))
    assert asked <= recorded()
    assert recorded() <= asked | set(RECORDED.findall(dashboard.text())), "a record that nothing reads"
    assert set(METRIC.findall(RECORDED.sub("", expressions))) <= series()


def test_every_file_of_rules_is_loaded_and_tested() -> None:
    files = {f"rules/{path.name}" for path in RULES.glob("*.yml")}
    assert files == set(re.findall(r"(?m)^  - (rules/\S+)$", (RULES.parent / "prometheus.yml").read_text()))
    tests = [path.read_text() for path in (RULES.parent / "tests").glob("*.yml")]
    assert files <= {f"rules/{name}" for text in tests for name in re.findall(r"- \.\./rules/(\S+)", text)}


def test_alerts_of_written_catalogs_ask_for_series_that_only_those_have() -> None:
    registry = CollectorRegistry()
    other = Maker(CollectorRegistry()).gauge("other", "Another gauge.", over_workers="livemax")
    LivingSeries(Maker(registry), products=other, built=other)
    written = {family.name for family in registry.collect()}
    catalog_alerts = (RULES / "catalog-alerts.yml").read_text()
    about_recall = {"SightlineRecallBurnsFast", "SightlineRecallBurnsSlowly"}
    for name in set(re.findall(r"- alert: (\w+)", catalog_alerts)) - about_recall:
        expression = re.sub(r"(?m)^\s*#.*$", "", each_alert()[name].split("labels:")[0])
        asked = METRIC.findall(RECORDED.sub("", expression))
        assert asked, name
        assert all(each.startswith(tuple(written)) for each in asked), name
