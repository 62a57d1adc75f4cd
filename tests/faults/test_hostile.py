"""A short run of `load_tests.hostile`: every bound but the good caller's, which needs a quiet machine."""

import time
from pathlib import Path

import pytest

from load_tests.attacks.frame import PATIENT_SERVER, Target
from load_tests.guarded.rights import Rights
from load_tests.hostile.judging import bounds
from load_tests.hostile.running import Plan, run
from tests.support.small_shop import PHOTO, SmallShop, serving

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
PLAN = Plan(calls=2000, processes=2, seed=7, quiet_s=5.0, good_per_s=4.0)
STOP_S = 22.0
"""The bound of a stop on a machine that runs other tests. A worker that hangs is killed later than that."""
OF_TIME = "times the good caller's quiet p99"


def test_hostile_calls_keep_every_bound(shop: SmallShop, tmp_path: Path) -> None:
    rights, log = Rights(tmp_path), tmp_path / "server.log"
    with serving(shop, log, SIGHTLINE_SERVER__WORKERS="2", **PATIENT_SERVER, **rights.variables) as server:
        target = Target(server.target, server.process.metrics_url, server.pid, log, PHOTO)
        seen = run(target, rights, [PHOTO], PLAN)
        begun = time.monotonic()
    assert time.monotonic() - begun < STOP_S
    assert [str(bound) for bound in bounds(seen) if not bound.kept and bound.name != OF_TIME] == []
    assert seen.ends.calls >= PLAN.calls
