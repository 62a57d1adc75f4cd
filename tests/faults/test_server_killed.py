"""Processes killed under load, as `load_tests/faults.py` does it, in less time: nobody hangs, nothing stays behind."""

from collections.abc import Iterator

import pytest

from load_tests.faults import kill_server, kill_under_load
from sightline_server import runtime_folder
from tests.support.rest import unharmed
from tests.support.small_shop import PHOTO, SmallShop, serving
from tests.support.world import RunningServer

pytestmark = pytest.mark.engine
RATE = 10.0


@pytest.fixture(scope="module")
def victim(shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that these tests harm, one after the other; the last of them ends it."""
    with serving(shop, tmp_path_factory.mktemp("victim") / "server.log") as made:
        yield made


@pytest.mark.parametrize("role", ["embedder", "detector", "tritonserver"])
async def test_a_killed_part_of_the_engine_comes_back(role: str, victim: RunningServer) -> None:
    async with unharmed(victim):
        found = await kill_under_load(victim.process, role, PHOTO, rate=RATE, seconds=35, kill_at=1.0, early=True)
        assert found.broken == [], found
        assert found.failed > 0, "the fault was felt"
        assert found.succeeded > 0


def test_nothing_is_left_of_a_killed_server(victim: RunningServer) -> None:
    name = f"sightline-{victim.pid}-"
    assert len([path for path in runtime_folder.listed() if path.name.startswith(name)]) == 2, (
        "the engine's and the control's"
    )
    last = kill_server(victim.process)
    assert last["broken"] == []
    assert (last["processes_left"], last["shared_files_left"]) == (0, 0)
    assert [path for path in runtime_folder.listed() if path.name.startswith(name)] == []
