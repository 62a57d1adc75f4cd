"""The list of stages, and everything that names a stage: messages, metrics, dashboards, alerts and docs."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from sightline.v1 import lens_service_pb2
from sightline_client import events
from sightline_server.domain.stages import STAGE_NAMES, STAGES, Wait
from sightline_server.telemetry.stopwatch import PLACES

ROOT = Path(__file__).resolve().parents[3]
SERVER = ROOT / "server/sightline_server"
NAMED = re.compile(r"""stage=~?\\?"([^"\\]+)\\?\"""")
"""A stage as PromQL selects it, also inside a JSON string."""


def files(*patterns: str) -> Iterable[Path]:
    """The files that match, build outputs and dependencies excluded."""
    for pattern in patterns:
        yield from (path for path in ROOT.glob(pattern) if "node_modules" not in path.parts)


def test_the_contract_has_a_time_for_each_stage_in_order() -> None:
    fields = [field.name for field in lens_service_pb2.StageTimings.DESCRIPTOR.fields]
    assert [name for name in fields if name not in ("queue_ms", "total_ms")] == [f"{name}_ms" for name in STAGE_NAMES]


def test_the_client_has_every_time_of_the_contract() -> None:
    contract = {field.name for field in lens_service_pb2.StageTimings.DESCRIPTOR.fields}
    assert {field.name for field in dataclasses.fields(events.StageTimings)} == contract
    assert tuple(events.StageTimings(embed_ms=2.5).stages) == STAGE_NAMES
    assert events.StageTimings(embed_ms=2.5).stages["embed"] == 2.5


def test_every_stage_is_timed_by_one_step_of_the_search() -> None:
    text = "".join(path.read_text() for path in (SERVER / "search").glob("*.py"))
    steps = re.findall(r"watch\.step\((\w+)\)", text)
    # Ways of a second comparison name theirs in a constant, which one step times.
    steps += re.findall(r"^KIND = Kind\(\"[a-z ]+\", ReasonKind\.\w+, (\w+),", text, re.MULTILINE)
    assert text.count("watch.step(conditions.kind.stage)") == 1
    assert sorted(steps) == sorted(name.upper() for name in STAGE_NAMES)


def test_a_call_can_be_left_before_and_in_a_stage_that_waits_and_after_one_that_sends() -> None:
    for stage in STAGES:
        moments = {moment for name, moment in PLACES if name == stage.name}
        assert ("before" in moments) == ("in" in moments) == (stage.waits_for is not Wait.NOTHING)
        assert ("after" in moments) == stage.sends


@pytest.mark.parametrize("folder", ["deploy", "docs", "scripts", "load_tests"])
def test_queries_select_stages_of_the_list(folder: str) -> None:
    found = [
        (path.relative_to(ROOT), name)
        for path in files(f"{folder}/**/*.json", f"{folder}/**/*.yml", f"{folder}/**/*.yaml", f"{folder}/**/*.md")
        for selected in NAMED.findall(path.read_text())
        for name in selected.split("|")
    ]
    assert [each for each in found if each[1] not in STAGE_NAMES] == []
    if folder == "deploy":
        assert found, "the dashboard selects stages; the pattern finds none"


def test_the_table_of_metrics_names_every_stage_and_when_an_optional_one_runs() -> None:
    (page,) = files("docs/**/metrics.md")
    rows = page.read_text().splitlines()
    (row,) = [row for row in rows if row.startswith("| `sightline_stage_seconds`")]
    assert [name for name in STAGE_NAMES if f"`{name}`" not in row] == []
    for stage in STAGES:
        assert (f"`{stage.name}` (only where" in row) == stage.optional, stage.name


def test_names_of_stages_are_written_in_the_list_only() -> None:
    quoted = re.compile(rf"""["']({"|".join(STAGE_NAMES)})["']\s*,\s*["']({"|".join(STAGE_NAMES)})["']""")
    copies = [
        path.relative_to(ROOT)
        for path in files("server/**/*.py", "clients/python/**/*.py", "load_tests/**/*.py", "scripts/**/*.py")
        if quoted.search(path.read_text())
    ]
    assert copies == []
