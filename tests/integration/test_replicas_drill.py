"""The drill with a real Envoy and two replicas that have no engine; skipped where Envoy is not installed."""

from pathlib import Path

import pytest

from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.replicas.drill import SIGNALS, Load, drill
from load_tests.replicas.envoy import binary_of
from tests.support.light_replica import LightReplica


@pytest.fixture(scope="module")
def envoy() -> Path:
    try:
        return binary_of(None)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", list(SIGNALS))
def test_a_failing_replica_costs_only_what_it_had(envoy: Path, case: str) -> None:
    verdict = drill(case, envoy, LightReplica, read_photos(SHOWROOM, at_most=3), Load(10.0, 9.0, 6.0))
    assert verdict.holds, verdict.line
    assert verdict.calls == 90
    if case != "drained":
        assert verdict.inside > 0
