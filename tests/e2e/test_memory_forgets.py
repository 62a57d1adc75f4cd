"""Ten seconds after the last call no process of the server holds a piece of the photo, wherever it was copied to.

The memory of the server, tritonserver, the stubs and the reaper is read as root through `/proc/PID/mem` and searched
for the encoded photo, its EXIF, the frame, the letterboxed image and the crops.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from sightline.v1 import geometry_pb2
from sightline_server.domain.geometry import Box
from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import letterbox
from tests.support.memory_scan import Found, Pieces, Searcher, can_read, tree
from tests.support.pictures import encode, exif, noise
from tests.support.world import WHOLE, RunningServer, World, asked, running, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
FORGOTTEN_AFTER_S = 10.0
BOX = Box(0.1, 0.2, 0.6, 0.7)
REGION = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0.1, y_min=0.2, x_max=0.6, y_max=0.7))
SMALL_PIECES = 3
"""Windows of the encoded photo, of 64, that may lie in such small blocks."""
KINDS = {"encoded", "exif", "frame", "letterbox", "crop", "box"}


def make_photo() -> tuple[bytes, Pieces]:
    """A photo of noise that no other run has seen, and pieces of every form that it takes."""
    seed = int.from_bytes(os.urandom(4))
    block = exif(6, description=f"a private person, {seed}, {seed * 31337}")
    photo = encode(Image.fromarray(noise(1280, 960, seed=seed)), exif=block, quality=90)
    frame = decode(photo, DecodeLimits(1 << 24, 1 << 24, 3072))
    detector, embedder = DetectorSpec("d", "1", 416, 416, 1, ()), EmbedderSpec("e", "1", 260, 260, 8)
    data = {
        "encoded": photo[len(photo) // 100 :],
        "exif": block.tobytes(),
        "frame": frame.pixels.tobytes(),
        "letterbox": letterbox(frame, detector).pixels.tobytes(),
        "crop": crop(frame, Box.whole(), embedder).pixels.tobytes(),
        "box": crop(frame, BOX, embedder).pixels.tobytes(),
    }
    return photo, Pieces.of(data)


async def searched(server: RunningServer, photo: bytes, at_once: int) -> None:
    """Searches for all of the photo and for parts of it, also several times at once."""
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        requests = [asked(photo), *[asked(photo, regions=[WHOLE, REGION])] * at_once]
        await asyncio.gather(*(search(channel, each) for each in requests))


def remembered(server: RunningServer, pieces: Pieces) -> dict[str, list[Found]]:
    """What each process of the server still holds, by its name."""
    if not can_read(server.pid):
        pytest.skip("needs the right to read the memory of other processes, as root has")
    searcher = Searcher(pieces)
    processes = tree(server.pid)
    assert {"python", "server", "tritonserver"} <= {name.partition(":")[0] for name in processes}
    assert len(processes) == 5
    return {name: found for name, pid in processes.items() if (found := searcher.scan(pid))}


def counted(remembered: dict[str, list[Found]]) -> dict[str, dict[tuple[str, str], int]]:
    """How many windows of which kind lie in which mapping; their content is for nobody's eyes."""
    return {name: dict(Counter((each.kind, each.mapping) for each in found)) for name, found in remembered.items()}


def kinds(found: Sequence[Found]) -> set[str]:
    return {each.kind for each in found}


async def test_ten_seconds_after_the_last_call_no_process_holds_a_piece(world: World, tmp_path: Path) -> None:
    photo, pieces = make_photo()
    assert set(pieces.windows) == KINDS and all(len(windows) >= 8 for windows in pieces.windows.values())
    with running(world, tmp_path / "log") as server:
        # One call first: what a later and larger one leaves must not depend on it.
        await searched(server, photo, 1)
        await searched(server, photo, 6)
        # No event says that the time is over; it is what is promised.
        await asyncio.sleep(FORGOTTEN_AFTER_S)
        left = counted(remembered(server, pieces))
    # gRPC receives a message in pieces. Those of at most 1032 bytes lie in blocks that glibc keeps for their thread and
    # does not overwrite, some hundreds of bytes of a photo in all (docs/privacy.md).
    small = left.get("server", {}).pop(("encoded", "[heap]"), 0)
    assert small <= SMALL_PIECES
    assert {name: found for name, found in left.items() if found} == {}


async def test_a_server_that_forgets_nothing_is_found_out(world: World, tmp_path: Path) -> None:
    photo, pieces = make_photo()
    wrapper = [sys.executable, "-m", "tests.support.forgets_nothing"]
    with running(world, tmp_path / "log", prefix=wrapper) as server:
        await searched(server, photo, 1)
        await asyncio.sleep(FORGOTTEN_AFTER_S)
        found = remembered(server, pieces)
    # The engine's backend overwrites its inputs all the same; tests/unit/test_triton_backend.py has its part.
    assert kinds(found["server"]) >= {"encoded", "exif", "frame"}


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
    assert kinds(found) == {"some"}
