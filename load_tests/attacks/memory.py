"""F6: what the memory of a server's processes still holds of a photo, ten seconds after the last call.

The memory of the server, its workers, tritonserver, the stubs and the reaper is read as root and searched for the
encoded photo, its EXIF, the frame, the letterboxed image and the crops. The same search of a server that forgets
nothing shows that it finds what is there.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import grpc
from PIL import Image

from load_tests.attacks.frame import OWN_CONNECTION, PATIENCE_S, Attack, Bound, Skipped, Target
from sightline.v1 import geometry_pb2, lens_service_pb2, lens_service_pb2_grpc
from sightline_privacy.memory_scan import Found, Pieces, Searcher, can_read, tree
from sightline_server.domain.geometry import Box
from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import detector_input
from tests.support.pictures import encode, exif, noise

FORGOTTEN_AFTER_S = 10.0
BOX = Box(0.1, 0.2, 0.6, 0.7)
WHOLE = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0, y_min=0, x_max=1, y_max=1))
REGION = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0.1, y_min=0.2, x_max=0.6, y_max=0.7))
AT_ONCE = 6
FORGETS_NOTHING = (sys.executable, "-m", "tests.support.forgets_nothing")
FOUND_THERE = {"encoded", "exif", "frame"}
"""Kinds that a server which forgets nothing holds for certain; its engine overwrites its inputs all the same."""


async def run(target: Target, share: float) -> list[Bound]:
    """Searches, waits and scans; then the same with a server that forgets nothing."""
    photo, pieces = make_photo()
    # One call first: what a later and larger one leaves must not depend on it.
    await searched(target.address, photo, 1)
    await searched(target.address, photo, AT_ONCE)
    left = await after_rest(target.pid, pieces)
    with target.another(FORGETS_NOTHING) as forgetting_nothing:
        await searched(forgetting_nothing.address, photo, 1)
        missed = FOUND_THERE - kinds(await after_rest(forgetting_nothing.pid, pieces))
    return [
        *(Bound(f"windows of {len(pieces)} in {name}", len(found), 0) for name, found in left.items()),
        Bound("kinds missed in a server that forgets nothing (then this proves nothing)", len(missed), 0),
    ]


def make_photo() -> tuple[bytes, Pieces]:
    """A photo of noise that no other run has seen, and pieces of every form that it takes with the default models."""
    seed = int.from_bytes(os.urandom(4))
    block = exif(6, description=f"a private person, {seed}, {seed * 31337}")
    photo = encode(Image.fromarray(noise(1280, 960, seed=seed)), exif=block, quality=90)
    frame = decode(photo, DecodeLimits(1 << 24, 1 << 24, 3072))
    detector, embedder = DetectorSpec("d", "1", 416, 416, 1, ()), EmbedderSpec("e", "1", 260, 260, 8)
    data = {
        "encoded": photo[len(photo) // 100 :],
        "exif": block.tobytes(),
        "frame": frame.pixels.tobytes(),
        "letterbox": detector_input(frame, detector).pixels.tobytes(),
        "crop": crop(frame, Box.whole(), embedder).pixels.tobytes(),
        "box": crop(frame, BOX, embedder).pixels.tobytes(),
    }
    return photo, Pieces.of(data)


async def searched(address: str, photo: bytes, at_once: int, connections: int = 1) -> None:
    """Searches for all of the photo and for parts of it on each connection, also several times at once."""
    await asyncio.gather(*(searched_once(address, photo, at_once) for _ in range(connections)))


async def searched_once(address: str, photo: bytes, at_once: int) -> None:
    """The searches of one connection. Raises `grpc.aio.AioRpcError`."""
    request = lens_service_pb2.SearchRequest(photo=photo)
    parts = lens_service_pb2.SearchRequest(photo=photo, regions=[WHOLE, REGION])
    options = [("grpc.max_send_message_length", -1), *OWN_CONNECTION]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = lens_service_pb2_grpc.LensServiceStub(channel)

        async def one(asked: lens_service_pb2.SearchRequest) -> None:
            async for _ in stub.Search(asked, timeout=PATIENCE_S):
                pass

        await asyncio.gather(*(one(each) for each in [request, *[parts] * at_once]))


async def after_rest(pid: int, pieces: Pieces) -> dict[str, list[Found]]:
    """The pieces that each process of the server `pid` still holds after a rest, by the process's name."""
    # No event says that the time is over; it is what is promised.
    await asyncio.sleep(FORGOTTEN_AFTER_S)
    return await asyncio.to_thread(remembered, pid, pieces)


def remembered(pid: int, pieces: Pieces) -> dict[str, list[Found]]:
    """The pieces that each process of the server `pid` holds, by its name. Raises `Skipped` without root's rights."""
    if not can_read(pid):
        raise Skipped("no right to read the memory of other processes, as root has")
    searcher = Searcher(pieces)
    return {name: searcher.scan(process) for name, process in tree(pid).items()}


def counted(remembered: Mapping[str, Sequence[Found]]) -> dict[str, dict[tuple[str, str], int]]:
    """The number of windows by kind and mapping; their content does not go into the log."""
    return {
        name: dict(Counter((each.kind, each.mapping) for each in found)) for name, found in remembered.items() if found
    }


def kinds(remembered: Mapping[str, Sequence[Found]]) -> set[str]:
    """The kinds that any process holds."""
    return {each.kind for found in remembered.values() for each in found}


ATTACK = Attack("memory", "F6: what stays of a photo", run)
