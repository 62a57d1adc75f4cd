"""Photos of few bytes that would cost seconds and a gigabyte: each costs little, in a process that is measured."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest
from PIL import Image

from tests.support.pictures import bmp_of_runs, encode, gradient, png_of, with_scans

CPU_S = 4.0
"""The bound is 1 s on a quiet machine; a shared one counts several times as much for the same work."""
MEMORY_MB = 400

MEASURE = """
import json, re, sys, time
from pathlib import Path
from sightline_server.errors import SightlineError
from sightline_server.stages.decode import DecodeLimits, decode

LIMITS = DecodeLimits(20 << 20, 64_000_000, 3072)

def peak():
    return int(re.search(r"VmHWM:\\\\s+(\\\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

decode(Path(sys.argv[1]).read_bytes(), LIMITS)
for name in sys.argv[2:]:
    photo = Path(name).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    before, started = peak(), time.process_time()
    try:
        outcome = str(decode(photo, LIMITS).pixels.shape)
    except SightlineError as error:
        outcome = error.kind.name
    print(json.dumps([Path(name).name, time.process_time() - started, peak() - before, outcome]), flush=True)
"""


def claimed(photo: bytes, before: bytes, after: bytes) -> bytes:
    """The photo with another size in its header."""
    assert photo.count(before) >= 1
    return photo.replace(before, after, 1)


def exif_segments(count: int) -> bytes:
    plain = encode(Image.new("RGB", (64, 64)))
    return plain[:2] + (b"\xff\xe1" + struct.pack(">H", 9) + b"Exif\0\0x") * count + plain[2:]


def empty_scans(scans: int) -> bytes:
    """A progressive JPEG of 64 megapixels whose scans hold one byte each."""
    plain = with_scans(scans)
    frame = plain.index(b"\xff\xc2") + 5
    return plain[:frame] + struct.pack(">HH", 8000, 8000) + plain[frame + 4 :]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "bmp in runs, wide": lambda: bmp_of_runs(63_000_000, 1, 1),
    "bmp in runs, square": lambda: bmp_of_runs(8000, 8000, 8000),
    "png of one bit and transparency": lambda: png_of(8000, 6000, 1, 3, (b"PLTE", bytes(6)), (b"tRNS", b"\0")),
    "png of colour": lambda: png_of(8000, 8000, 8, 2),
    "png of 16 bits and alpha": lambda: png_of(6000, 4000, 16, 6),
    "png beyond its limit": lambda: png_of(8000, 8000, 1, 3, (b"PLTE", bytes(6)), (b"tRNS", b"\0")),
    "webp of one colour": lambda: encode(Image.new("RGBA", (8000, 8000), (1, 2, 3, 4)), "WEBP", lossless=True),
    "webp of one opaque colour": lambda: encode(Image.new("RGB", (6500, 6500), (1, 2, 3)), "WEBP", lossless=True),
    "jpeg of 380,000 segments": lambda: exif_segments(380_000),
    "jpeg of 1,700,000 segments": lambda: exif_segments(1_700_000),
    "jpeg of 80 empty scans": lambda: empty_scans(80),
    "jpeg of few empty scans": lambda: empty_scans(5),
    "jpeg of CMYK": lambda: encode(Image.new("CMYK", (5900, 5000), (1, 2, 3, 4))),
    "gif of 64 megapixels": lambda: claimed(
        encode(Image.new("P", (8, 8)), "GIF"), b"\x08\0\x08\0", struct.pack("<HH", 8000, 8000)
    ),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float, str]]:
    """CPU seconds, megabytes and outcome of each hostile photo."""
    folder = tmp_path_factory.mktemp("hostile")
    warm = folder / "warm"
    warm.write_bytes(encode(gradient()))
    paths = [folder / name for name in HOSTILE]
    for path in paths:
        path.write_bytes(HOSTILE[path.name]())
    command = [sys.executable, "-c", MEASURE.replace("\\\\", "\\"), str(warm), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    return {name: (cpu, memory, outcome) for name, cpu, memory, outcome in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_photo_costs_little(name: str, measured: dict[str, tuple[float, float, str]]) -> None:
    cpu_s, memory_mb, _ = measured[name]
    assert cpu_s < CPU_S
    assert memory_mb < MEMORY_MB
