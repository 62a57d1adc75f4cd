"""Alerts, their promtool tests and the runbook say the same; rules ask only for metrics that there are."""

import re
from pathlib import Path

from tests.unit.repository.test_dashboard import METRIC, RECORD, series

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules"
ALERTS = (RULES / "alerts.yml").read_text()
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
    recording = (RULES / "recording.yml").read_text()
    records = set(RECORD.findall(recording))
    expressions = re.sub(r"(?m)^\s*#.*$", "", recording + ALERTS)
    assert set(re.findall(r"\b(?:job|batcher):sightline[\w:]+", expressions)) <= records
    plain = re.sub(r"\b(?:job|batcher):sightline[\w:]+", "", expressions)
    assert set(METRIC.findall(plain)) <= series()
