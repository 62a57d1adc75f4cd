"""Ten seconds after the last call no process of the server holds a piece of the photo, wherever it was copied to.

The search itself, and what it looks for, is `load_tests/attacks/memory.py`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from load_tests.attacks.frame import PATIENT_SERVER, Skipped
from load_tests.attacks.memory import FORGETS_NOTHING, FOUND_THERE, after_rest, counted, kinds, make_photo, searched
from sightline_privacy.memory_scan import Found, Pieces, Searcher, can_read
from tests.support.isolation import decoders, fork_servers
from tests.support.pictures import encode, noise
from tests.support.world import World, running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
KINDS = {"encoded", "exif", "frame", "letterbox", "crop", "box"}
CONNECTIONS = 4
"""So many that both workers get some, most likely."""


async def rested(pid: int, pieces: Pieces) -> dict[str, list[Found]]:
    """The pieces that the processes of server `pid` hold after a rest; skips where memory cannot be read."""
    try:
        return await after_rest(pid, pieces)
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("workers", "processes"), [(1, 5), (2, 7)])
async def test_ten_seconds_after_the_last_call_no_process_holds_a_piece(
    world: World, tmp_path: Path, workers: int, processes: int
) -> None:
    photo, pieces = make_photo()
    assert set(pieces.windows) == KINDS
    assert all(len(windows) >= 8 for windows in pieces.windows.values())
    with running(world, tmp_path / "log", **PATIENT_SERVER, SIGHTLINE_SERVER__WORKERS=str(workers)) as server:
        # One call first: what a later and larger one leaves must not depend on it.
        await searched(server.target, photo, 1)
        if workers == 1:
            await searched(server.target, photo, 6)
        else:
            await searched(server.target, photo, 1, CONNECTIONS)
        left = await rested(server.pid, pieces)
    assert {"python", "server", "tritonserver"} <= {name.partition(":")[0] for name in left}
    assert len(left) >= processes
    assert counted(left) == {}


async def test_a_server_that_forgets_nothing_is_found_out(world: World, tmp_path: Path) -> None:
    photo, pieces = make_photo()
    with running(world, tmp_path / "log", prefix=FORGETS_NOTHING) as server:
        await searched(server.target, photo, 1)
        found = await rested(server.pid, pieces)
    assert kinds({"server": found["server"]}) >= FOUND_THERE


async def test_ten_seconds_after_a_tiff_no_process_holds_a_piece(world: World, tmp_path: Path) -> None:
    """A TIFF goes through a decode process; its pixels are in the file as they are in the frame."""
    tiff = encode(Image.fromarray(noise(640, 480, seed=int.from_bytes(os.urandom(4)))), "TIFF")
    pieces = Pieces.of({"tiff": tiff[len(tiff) // 100 :]})
    with running(world, tmp_path / "log", SIGHTLINE_DECODE__FORMATS='["jpeg", "tiff"]') as server:
        await searched(server.target, tiff, 1)
        [forks] = fork_servers(server.pid)
        left = await rested(server.pid, pieces)
        assert fork_servers(server.pid) == [forks]
        assert decoders(server.pid) == []
    assert counted(left) == {}


def test_a_window_is_found_wherever_it_begins() -> None:
    content = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    pieces = Pieces.of({"some": content}, count=40)
    searcher = Searcher(pieces)
    for shift in range(8):
        assert len(list(searcher.search(bytes(shift) + content))) == len(pieces)
    assert not list(searcher.search(os.urandom(100_000)))


def test_own_memory_is_searched_in_all_its_mappings() -> None:
    if not can_read(os.getpid()):
        pytest.skip("may not read its own memory")
    content = os.urandom(1 << 20)
    copies = [content, bytearray(content)]
    found = Searcher(Pieces.of({"some": content})).scan(os.getpid())
    assert len(copies) == 2
    assert kinds({"own": found}) == {"some"}
