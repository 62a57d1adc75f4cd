"""The drill with a real Envoy and two replicas that have no engine.

Skipped where Envoy is not installed, unless SIGHTLINE_REQUIRE_ENVOY is set, as our own CI does.
"""

import os
from pathlib import Path

import pytest

from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.replicas.drill import SIGNALS, SLOWED, Load, drill
from load_tests.replicas.envoy import binary_of
from load_tests.replicas.fresh import drill_fresh
from load_tests.replicas.stale import drill_stale
from tests.support.catalog_service import make_shop
from tests.support.light_replica import LightReplica

REQUIRED = "SIGHTLINE_REQUIRE_ENVOY"


@pytest.fixture(scope="module")
def envoy() -> Path:
    try:
        return binary_of(None)
    except FileNotFoundError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_a_slowed_replica_gets_fewer_calls_by_its_load_reports(envoy: Path) -> None:
    verdict = drill(SLOWED, envoy, LightReplica, read_photos(SHOWROOM, at_most=3), Load(8.0, 24.0, 10.0))
    assert verdict.holds, verdict.line


def test_a_stale_replica_is_named_and_comes_back(envoy: Path, tmp_path: Path) -> None:
    photos = read_photos(SHOWROOM, at_most=3)
    verdict = drill_stale(envoy, LightReplica, make_shop(tmp_path), photos, Load(4.0, 12.0, 10.0))
    assert verdict.holds, verdict.line


def test_a_write_is_found_on_two_replicas_within_seconds(tmp_path: Path) -> None:
    verdict = drill_fresh(LightReplica, make_shop(tmp_path), 3)
    assert verdict.missed == 0, verdict.line
    assert verdict.found_p99_s < 20 > verdict.gone_p99_s, verdict.line


@pytest.mark.parametrize("case", list(SIGNALS))
def test_a_failing_replica_costs_only_what_it_had(envoy: Path, case: str) -> None:
    verdict = drill(case, envoy, LightReplica, read_photos(SHOWROOM, at_most=3), Load(10.0, 9.0, 6.0))
    assert verdict.holds, verdict.line
    assert verdict.calls == 90
    if case != "drained":
        assert verdict.inside > 0
