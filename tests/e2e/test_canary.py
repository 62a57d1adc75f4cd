"""The canary: a photo that would be known again anywhere goes through success and every kind of error.

Then all that the server leaves is searched for it: logs, metrics, status details, temporary files, shared memory, the
state folder.
"""

import asyncio
import base64
import os
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.v1 import geometry_pb2, lens_service_pb2, lens_service_pb2_grpc
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.models import DETECTOR, EMBEDDER, DetectorSpec, EmbedderSpec
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import detector_input
from tests.support.engine import CHECKOUT, embedded_engine, sightline_home
from tests.support.lens import Failed
from tests.support.pictures import encode, exif, noise
from tests.support.world import WHOLE, Answer, RunningServer, World, asked, refused, running, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
MARK = "canary-7f3a-of-the-test"
TAP = geometry_pb2.Region(tap=geometry_pb2.Point(x=0.41, y=0.37))
WINDOW = 24
"""Bytes of one piece of the canary; by chance it occurs nowhere else."""
MAX_PHOTO_BYTES = 3_000_000
LARGEST_FILE = 512 << 20


@dataclass
class Canary:
    """The photo and every form that it takes on its way."""

    photo: bytes
    frame: Frame
    pieces: list[bytes] = field(default_factory=list)

    def add(self, data: bytes, count: int = 6) -> None:
        """Makes `count` pieces of `data`, spread over it, known."""
        places = np.linspace(len(data) * 0.02, len(data) * 0.98 - WINDOW, count).astype(int)
        self.pieces += [data[place : place + WINDOW] for place in places]

    def add_pixels(self, pixels: NDArray[np.uint8]) -> None:
        """Rows of the image, as uint8 and as the floats of a careless copy."""
        self.add(pixels.tobytes())
        self.add(pixels.astype(np.float32).tobytes(), 2)


def make_canary(detector: DetectorSpec, embedder: EmbedderSpec) -> Canary:
    """A photo of noise, which compresses to nothing else, with GPS and a name in its EXIF."""
    block = exif(6, description=MARK)
    photo = encode(Image.fromarray(noise(640, 480, seed=77)), exif=block, quality=90)
    frame = decode(photo, DecodeLimits(1 << 24, 1 << 24, 3072))
    canary = Canary(photo, frame)
    canary.add(photo, 12)
    for shift in range(3):
        canary.add(base64.b64encode(photo[5000 + shift : 9000]), 2)
    canary.add(photo[5000:9000].hex().encode(), 2)
    canary.pieces += [MARK.encode(), block.tobytes()[-WINDOW:]]
    canary.add_pixels(frame.pixels)
    seen = detector_input(frame, detector)
    place = seen.placement
    canary.add_pixels(seen.pixels[:, place.left : place.left + place.inner_width])
    for box in (Box.whole(), Box(0.1, 0.2, 0.6, 0.7)):
        canary.add_pixels(crop(frame, box, embedder).pixels)
    return canary


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """A search that finds nothing proves something only when it can find something."""
    canary = make_canary(DetectorSpec("d", "1", 416, 416, 1, ()), EmbedderSpec("e", "1", 260, 260, 8))
    assert len({piece for piece in canary.pieces if len(set(piece)) > 6}) == len(canary.pieces)
    for name, data in {
        "bytes": canary.photo[1000:90_000],
        "base64": base64.b64encode(canary.photo[5000:9000]),
        "pixels": canary.frame.pixels[100:400].tobytes(),
        "name": f"said {MARK} somewhere".encode(),
    }.items():
        path = tmp_path / name
        path.write_bytes(bytes(1000) + data + bytes(1000))
        assert found_in(tmp_path, canary, 0.0) == [str(path)]
        path.unlink()
    (tmp_path / "clean").write_bytes(os.urandom(100_000))
    assert found_in(tmp_path, canary, 0.0) == []


def found_in(folder: Path, canary: Canary, since: float, skip: tuple[str, ...] = ()) -> list[str]:
    """Files below `folder`, written after `since`, that hold a piece of the canary."""
    return [str(path) for path in files_of(folder, since, skip) if holds(path, canary)]


def files_of(folder: Path, since: float, skip: tuple[str, ...]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in skip]
        for name in names:
            path = Path(parent) / name
            try:
                status = path.stat()
            except OSError:
                continue
            if path.is_file() and status.st_mtime >= since and 0 < status.st_size <= LARGEST_FILE:
                yield path


def holds(path: Path, canary: Canary) -> bool:
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return any(piece in data for piece in canary.pieces)


@pytest.fixture
def since() -> float:
    """The start of the test; the clock of file times may lag by some milliseconds."""
    return time.time() - 1.0


async def served_embedding(canary: Canary) -> tuple[DetectorSpec, EmbedderSpec, bytes]:
    """The specs of the real models, and the embedding of the whole canary as Triton gives it."""
    engine = embedded_engine(CHECKOUT / "model_repository")
    await engine.start()
    try:
        part = crop(canary.frame, Box.whole(), engine.spec(EMBEDDER)).pixels
        answer = await engine.runner(EMBEDDER).infer({"CROPS": [part]}, deadline=None)
        return engine.spec(DETECTOR), engine.spec(EMBEDDER), answer["EMBEDDINGS"].astype(np.float32).tobytes()
    finally:
        await engine.stop()


async def test_nothing_of_a_photo_stays_anywhere(world: World, tmp_path: Path, since: float) -> None:
    plain = make_canary(DetectorSpec("d", "1", 416, 416, 1, ()), EmbedderSpec("e", "1", 260, 260, 8))
    detector, embedder, embedding = await served_embedding(plain)
    canary = make_canary(detector, embedder)
    canary.add(embedding, 12)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    variables = {
        "TMPDIR": str(temporary),
        "SIGHTLINE_LOG__LEVEL": "DEBUG",
        "SIGHTLINE_LIMITS__MAX_PHOTO_BYTES": str(MAX_PHOTO_BYTES),
    }
    with running(world, tmp_path / "server.log", **variables) as server:
        no_core_dumps(server)
        told = await every_way(server, canary)
        told.append(await asyncio.to_thread(read_url, server.process.metrics_url))
        assert found_in(Path("/dev/shm"), canary, 0.0) == []
        pid = server.pid
    log = (tmp_path / "server.log").read_bytes()
    assert b"INVALID_ARGUMENT" in log and b"UNAVAILABLE" in log, "the log contains the errors"
    assert [piece for text in (*told, log) for piece in canary.pieces if piece in text] == []
    assert found_in(tmp_path, canary, 0.0) == []
    assert found_in(Path("/dev/shm"), canary, 0.0) == []
    assert found_in(sightline_home(), canary, since, skip=("downloads",)) == []
    assert found_in(Path("/tmp"), canary, since) == []
    assert [name for name in os.listdir("/dev/shm") if name.startswith(f"sightline-{pid}-")] == []
    assert not list(CHECKOUT.glob("core*"))


def read_url(url: str) -> bytes:
    """The bytes at an address."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def no_core_dumps(server: RunningServer) -> None:
    """Asserts that no process of the server may write a core file."""
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    roles = server.children()
    assert all(roles[role] for role in ("tritonserver", "detector", "embedder"))
    for process in processes:
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (line,) = [line for line in limits if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"], f"{process.cmdline()}: {line}"


async def every_way(server: RunningServer, canary: Canary) -> list[bytes]:
    """Sends the canary through success and each kind of error; returns all error texts that callers received."""
    told: list[bytes] = []
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        for request in good(canary):
            answer = await search(channel, request)
            assert isinstance(answer, Answer) and answer.objects
        for name, (request, timeout_s, code) in bad(canary).items():
            error = await refused(channel, request, timeout_s)
            assert error.code.name == code, name
            told.append(text_of(error))
        call = lens_service_pb2_grpc.LensServiceStub(channel).Search(asked(canary.photo))
        await call.read()
        call.cancel()
        # The engine goes while the canary is inside it.
        server.children()["embedder"][0].kill()
        error = await refused_by_fault(channel, canary)
        assert error.code is grpc.StatusCode.UNAVAILABLE
        told.append(text_of(error))
    return told


async def refused_by_fault(channel: grpc.aio.Channel, canary: Canary) -> Failed:
    """Searches until the fault is felt, which may take a moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            await search(channel, asked(canary.photo, regions=[WHOLE]))
        except grpc.aio.AioRpcError as error:
            text = f"{error.details()} {error.trailing_metadata()}".encode()
            return Failed([], error.code(), text.decode(), {})
    raise AssertionError("the fault was never felt")


def good(canary: Canary) -> list[lens_service_pb2.SearchRequest]:
    box = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0.1, y_min=0.2, x_max=0.6, y_max=0.7))
    return [asked(canary.photo), asked(canary.photo, regions=[WHOLE]), asked(canary.photo, regions=[TAP, box])]


def bad(canary: Canary) -> dict[str, tuple[lens_service_pb2.SearchRequest, float, str]]:
    """Name -> request, deadline and code of every error that a request can bring about."""
    photo, lens = canary.photo, lens_service_pb2
    nothing = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0.5, y_min=0.5, x_max=0.5, y_max=0.5))
    return {
        "torn": (asked(photo[: len(photo) // 2]), 20, "INVALID_ARGUMENT"),
        "head only": (asked(photo[:400]), 20, "INVALID_ARGUMENT"),
        "no image": (asked(photo[3:]), 20, "INVALID_ARGUMENT"),
        "too many bytes": (asked(photo + bytes(MAX_PHOTO_BYTES)), 20, "INVALID_ARGUMENT"),
        "too large a message": (asked(photo + bytes(MAX_PHOTO_BYTES + (2 << 20))), 20, "RESOURCE_EXHAUSTED"),
        "box": (asked(photo, regions=[nothing]), 20, "INVALID_ARGUMENT"),
        "cap": (asked(photo, max_products=1000), 20, "INVALID_ARGUMENT"),
        "catalog": (asked(photo, catalog=MARK), 20, "NOT_FOUND"),
        "grant": (asked(photo, grant=MARK), 20, "UNIMPLEMENTED"),
        "filter": (asked(photo, filter=lens.Filter(brands=[MARK * 100])), 20, "INVALID_ARGUMENT"),
        "late": (asked(photo), 0.005, "DEADLINE_EXCEEDED"),
    }


def text_of(error: Failed) -> bytes:
    """All words of an error."""
    details: Any = error.details
    return f"{error.message} {details}".encode()
