"""Each attack of `load_tests.attacks`, small: the server keeps the bounds and is whole afterwards."""

import asyncio
from pathlib import Path

import pytest

from load_tests.attacks import __main__ as attacks
from load_tests.attacks.frame import Attack, Bound, Target
from tests.support.small_shop import PHOTO, SmallShop, serving

pytestmark = pytest.mark.engine
SHARE = {"resets": 0.1, "garbage": 0.1, "fields": 0.5, "uploads": 0.25, "idle": 0.5, "scrapes": 0.5}
SLOWER = 10.0
"""How much slower than alone a machine may be that runs other tests; counts and memory have no such excuse."""


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_keeps_its_bounds(name: str, shop: SmallShop, tmp_path: Path) -> None:
    attack = attacks.ATTACKS[name]
    with serving(shop, tmp_path / "server.log", **attack.environment) as server:
        target = Target(server.target, server.process.metrics_url, server.pid, server.log, PHOTO)
        bounds = asyncio.run(attack.run(target, SHARE.get(name, 0.1)))
    assert [str(bound) for bound in bounds if not kept(bound)] == []


def kept(bound: Bound) -> bool:
    """Whether `bound` is kept on a machine that does other things too."""
    if bound.name.startswith("times that"):
        return True
    slower = SLOWER if bound.name.startswith("s ") else 1.0
    return bound.measured <= bound.at_most * slower


def test_a_broken_bound_fails_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def nothing(target: Target, share: float) -> list[Bound]:
        return []

    attack = Attack("name", "about", nothing)
    assert attacks.report(attack, [Bound("MB", 1, 2), Bound("s", 3, 3)])
    assert not attacks.report(attack, [Bound("MB", 1, 2), Bound("s", 4, 3)])
    passed, failed = capsys.readouterr().out.splitlines()
    assert passed.startswith("pass  name: about: MB 1 <= 2")
    assert failed.startswith("FAIL  name")
    assert "s 4 <= 3 BROKEN" in failed
