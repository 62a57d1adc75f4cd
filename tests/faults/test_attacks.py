"""Each attack of `load_tests.attacks`, small: the server keeps the bounds and is whole afterwards."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from load_tests.attacks import __main__ as attacks
from load_tests.attacks import decode, engine
from load_tests.attacks.frame import Attack, Bound, Skipped, Target
from tests.support.small_shop import PHOTO, SmallShop, serving
from tests.support.world import RunningServer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
SHARE = {
    "resets": 0.1,
    "garbage": 0.1,
    "fields": 0.5,
    "uploads": 0.25,
    "idle": 0.5,
    "scrapes": 0.5,
    "decode": 0.2,
    "ingest": 0.5,
}
ELSEWHERE = {"memory", "people"}
"""Those that need the real models: tests/e2e/test_memory_forgets.py and test_real_people.py."""
UNMEASURED = {"engine", "garbage", "idle", "ingest"}
"""Those that measure no memory and no threads of the server: they share one."""
SLOWER = 10.0
"""Factor by which a machine that runs other tests may be slower; counts and memory get no allowance."""


@pytest.fixture(scope="module")
def attacked(shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the attacks of `UNMEASURED`."""
    log = tmp_path_factory.mktemp("attacked") / "server.log"
    with serving(shop, log, **attacks.ATTACKS["engine"].environment) as server:
        yield server


@pytest.mark.parametrize("name", sorted(attacks.ATTACKS.keys() - ELSEWHERE - UNMEASURED))
def test_an_attack_keeps_its_bounds(name: str, shop: SmallShop, tmp_path: Path) -> None:
    with serving(shop, tmp_path / "server.log", **attacks.ATTACKS[name].environment) as server:
        assert broken(name, server) == []


@pytest.mark.parametrize("name", sorted(UNMEASURED))
def test_an_attack_after_others_keeps_its_bounds(name: str, attacked: RunningServer) -> None:
    assert not attacks.ATTACKS[name].variables
    assert broken(name, attacked) == []


def broken(name: str, server: RunningServer) -> list[str]:
    """The bounds that the server breaks under attack `name`."""
    target = Target(server.target, server.process.metrics_url, server.pid, server.log, PHOTO)
    try:
        bounds = asyncio.run(attacks.ATTACKS[name].run(target, SHARE.get(name, 0.1)))
    except Skipped as reason:
        pytest.skip(str(reason))
    return [str(bound) for bound in bounds if not kept(bound)]


async def test_an_engine_that_a_neighbour_reaches_breaks_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry's report of it, and of attempts that fail everywhere; the attempts are test_engine_neighbours.py's."""
    seen: dict[str, set[str]] = {"unix:/x/triton:1": {"connect"}, "127.0.0.1:1": engine.EVERYTHING - {"infer"}}
    command = ["tritonserver", "--grpc-address=unix:/x/triton", "--grpc-port=1", "--model-repository=/x/models"]
    monkeypatch.setattr(engine.Engine, "of", lambda server: engine.Engine(command))
    monkeypatch.setattr(engine, "done_by_a_neighbour", seen.__getitem__)
    monkeypatch.setattr(engine, "remote_triton", lambda repository: nullcontext(SimpleNamespace(url="127.0.0.1:1")))
    monkeypatch.setattr(engine, "tcp_listeners", lambda pid: {"other": 2})
    bounds = await engine.run(Target("", "", os.getpid(), Path(), b""), 1.0)
    assert [bound.measured for bound in bounds] == [1, 1, 1]
    assert "infer" in bounds[2].name


def test_lines_that_libraries_print_are_told_from_our_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    lines = decode.Lines(Target("", "", 0, log, b""))
    ours = (
        '2026-11-26 02:00:00,123 INFO    sightline_server.rpc.call: Search code=OK\n{"time": "2026-11-26T02:00:00"}\n'
    )
    theirs = "Corrupt JPEG data: 9 extraneous bytes\nUserWarning: Metadata Warning, tag 1000 had too many entries: 5\n"
    log.write_text("before\n" + ours + theirs)
    assert lines.since() == (4, 2)


def kept(bound: Bound) -> bool:
    """Returns whether `bound` is kept on a machine that also runs other programs."""
    if bound.name.startswith("times "):
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
