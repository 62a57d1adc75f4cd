"""The holes that the floors of pyproject.toml keep out, and the check that keeps the floors true.

`make test-floors` runs these on the lowest versions: a floor that lets an old hole in fails here.
"""

import asyncio
import json
import multiprocessing
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import grpc
import pytest
from packaging.version import Version
from PIL import Image

from scripts import requirements
from tests.support.pictures import encode

CPU_S = 4.0
MEMORY_MB = 400
MESSAGE_BYTES = 21 << 20
BOMB_BYTES = 500_000_000

MEASURE = """
import json, re, sys, time
from pathlib import Path
from sightline_server.errors import SightlineError
from sightline_server.stages.decode import DecodeLimits, decode

photo = Path(sys.argv[1]).read_bytes()

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

before, started = peak(), time.process_time()
try:
    outcome = str(decode(photo, DecodeLimits(20 << 20, 64_000_000, 3072)).pixels.shape)
except SightlineError as error:
    outcome = error.kind.name
print(json.dumps([time.process_time() - started, peak() - before, outcome]))
"""


def tiff_with_one_value_in_many_tags(tags: int, size: int) -> bytes:
    """A small grey TIFF with `tags` private tags that all point at the same `size` bytes."""
    usual = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (277, 1), (278, 8)]
    entries = [(tag, struct.pack("<HHIHH", tag, 3, 1, value, 0)) for tag, value in usual]
    entries += [(273, struct.pack("<HHII", 273, 4, 1, 8)), (279, struct.pack("<HHII", 279, 4, 1, 64))]
    entries += [(1000 + place, struct.pack("<HHII", 1000 + place, 1, size, 8)) for place in range(tags)]
    directory = struct.pack("<H", len(entries)) + b"".join(entry for _, entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + size) + bytes(size) + directory + bytes(4)


def gif_with_comments(count: int) -> bytes:
    """A GIF with `count` comments of one byte before its only frame."""
    plain = encode(Image.new("P", (8, 8)), "GIF")
    place = plain.index(b"!\xf9") if b"!\xf9" in plain else plain.index(b",", 13)
    return plain[:place] + b"\x21\xfe\x01A\0" * count + plain[place:]


IMAGES: dict[str, Callable[[], bytes]] = {
    "2 MB in 1,000 tags of a TIFF": lambda: tiff_with_one_value_in_many_tags(1000, 2_000_000),
    "400,000 comments in a GIF": lambda: gif_with_comments(400_000),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_old_pillow_expands_costs_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(IMAGES[name]())
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    cpu_s, memory_mb, _ = json.loads(done.stdout)
    assert cpu_s < CPU_S
    assert memory_mb < MEMORY_MB


class Echo(grpc.GenericRpcHandler):
    """A service that takes raw bytes, as the server's does."""

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_stream_rpc_method_handler(self.answer)

    async def answer(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        yield b"read"


async def test_a_gzip_bomb_is_not_unpacked_beyond_the_message_limit() -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MESSAGE_BYTES)])
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reset_peak()
    before, loop = peak_mb(), asyncio.get_running_loop()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as attacker:
        code = await loop.run_in_executor(attacker, send_bomb, f"127.0.0.1:{port}")
    await server.stop(None)
    assert code == "RESOURCE_EXHAUSTED"
    assert peak_mb() - before < MEMORY_MB


def send_bomb(target: str) -> str:
    """Sends zeros that gzip makes small, from a process whose memory is not the test's; returns the status code."""
    with grpc.insecure_channel(target, compression=grpc.Compression.Gzip) as channel:
        method: grpc.UnaryStreamMultiCallable[bytes, bytes]
        method = channel.unary_stream("/floors.Echo/Echo", request_serializer=bytes)
        try:
            return str(list(method(bytes(BOMB_BYTES), timeout=60)))
        except grpc.RpcError as error:
            return str(error.code().name)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.parametrize(
    ("floor", "pinned", "fault"),
    [
        ("13", "13.0.0", None),
        ("12.3", "13.0.0", "pyproject.toml: pillow>=12.3 is too low"),
        ("14", "13.0.0", "below its floor 14"),
        (None, "13.0.0", "pillow has no floor"),
        ("13", None, "requirements/floors.txt lacks pillow"),
    ],
)
def test_a_floor_that_is_not_what_is_tested_is_a_fault(
    floor: str | None, pinned: str | None, fault: str | None
) -> None:
    wanted = {"pillow": Version(floor) if floor else None}
    faults = list(requirements.floor_faults(wanted, {"pillow": Version(pinned)} if pinned else {}))
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def test_every_direct_dependency_is_tested_on_its_floor() -> None:
    declared = requirements.declared()
    assert {"pillow", "grpcio", "faiss-cpu", "onnxruntime", "pyarrow", "pytest"} < set(declared)
    pinned = requirements.pins(requirements.file_of(requirements.FLOORS).read_text())
    assert list(requirements.floor_faults(declared, pinned)) == []


@pytest.mark.parametrize("name", [*requirements.EXPORTS, requirements.FLOORS])
def test_every_package_that_pip_installs_has_a_hash(name: str) -> None:
    lines = requirements.file_of(name).read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages
    assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []
