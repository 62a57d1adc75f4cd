"""One memory limit: docs/design/architecture.md states the measured peak, and every file in deploy/ allows it."""

import re
from pathlib import Path

import pytest

from sightline_server.settings import Settings
from sightline_server.stages.photo_threads import LARGE_WEIGHT, ORDINARY_WEIGHT
from tests.support.chart import ALL, containers
from tests.support.engine import CHECKOUT

GIB = 1 << 30
DECODE_THREADS = 4
"""The most memory that a server takes by default."""
HEADROOM = 1.15
"""Factor by which a shipped limit must exceed the measured peak, because models and catalogs differ."""
LIMITED = {
    "systemd/sightline.service": (r"(?m)^MemoryMax=(\d+)G$", 1),
    "helm/sightline/values.yaml": (r"limits: \{memory: (\d+)Gi", 2),
    "helm/sightline/values-triton-sidecar.yaml": (r"limits: \{memory: (\d+)Gi", 1),
}


def stated(row: str) -> float:
    """The GiB of a row of the table in docs/design/architecture.md."""
    text = (CHECKOUT / "docs" / "design" / "architecture.md").read_text()
    (found,) = re.findall(rf"(?m)^\| {re.escape(row)} \| ([\d.]+) GiB \|$", text)
    return float(found)


@pytest.mark.parametrize("name", LIMITED)
def test_every_shipped_limit_is_the_documented_one(name: str) -> None:
    pattern, count = LIMITED[name]
    found = re.findall(pattern, (CHECKOUT / "deploy" / name).read_text())
    assert [float(limit) for limit in found] == [stated("limit in deploy/")] * count


@pytest.mark.parametrize("values", ALL)
def test_every_container_of_the_chart_has_the_documented_limit(values: str) -> None:
    limits = [each["resources"]["limits"]["memory"] for each in containers(values).values()]
    assert limits == [f"{stated('limit in deploy/'):g}Gi"] * len(limits)


def test_no_other_file_limits_memory() -> None:
    files = [path for path in (CHECKOUT / "deploy").glob("**/*") if path.is_file()]
    limiting = [path for path in files if re.search(r"MemoryMax=|limits: \{[^}]*memory", path.read_text())]
    assert {str(path.relative_to(CHECKOUT / "deploy")) for path in limiting} == set(LIMITED)


def test_the_limit_is_above_the_measured_peak() -> None:
    parts = ("the server", "tritonserver and its models")
    peak = stated("all processes at the peak")
    assert stated("limit in deploy/") >= peak * HEADROOM
    assert sum(stated(f"of it, {part}") for part in parts) == pytest.approx(peak, abs=0.1)


def test_the_limit_covers_what_the_default_settings_allow() -> None:
    settings = Settings()
    limits, edge = settings.limits, settings.decode.max_frame_edge
    frames = limits.max_concurrent_calls * edge * edge * 3
    decoding = LARGE_WEIGHT + DECODE_THREADS * ORDINARY_WEIGHT
    allowed = (limits.request_budget_bytes + frames + decoding) / GIB + stated("idle, with the sample catalog")
    assert stated("allowed by the default settings") == pytest.approx(allowed, abs=0.1)
    assert stated("all processes at the peak") <= stated("allowed by the default settings")
    assert stated("limit in deploy/") >= allowed * HEADROOM


def test_other_pages_refer_to_the_table() -> None:
    for page in (Path("docs/operate/runbook.md"), Path("deploy/README.md")):
        assert "architecture.md#memory" in (CHECKOUT / page).read_text()
