"""The cost of decoding: `python -m load_tests.direct.decoding [--against SERVER_FOLDER] [--turns 5]`.

Draws photos as phones and shops send them and decodes each one in a separate process, in turn with the same step of
another checkout where `--against` names its `server` folder. Prints one line a photo: CPU milliseconds, the peak of
memory that decoding adds, and the median and range of the per-turn ratios of CPU time. It also says whether the pixels
are equal.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5
PROGRAM = """
import hashlib, json, re, sys, time
from pathlib import Path
from sightline_server.stages.decode import DecodeLimits, decode

LIMITS = DecodeLimits(20 << 20, 64_000_000, 3072)

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

for line in sys.stdin:
    name, repeats = json.loads(line)
    photo = Path(name).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    before, started = peak(), time.process_time()
    for _ in range(repeats):
        pixels = decode(photo, LIMITS).pixels
    spent = (time.process_time() - started) / repeats
    print(json.dumps([spent * 1e3, peak() - before, hashlib.sha256(pixels.tobytes()).hexdigest()]), flush=True)
"""


def drawn(width: int, height: int) -> Image.Image:
    """A photo-like image: blurred chance of several scales."""
    chance = np.random.default_rng(1)
    total = np.zeros((height, width, 3), np.float32)
    for step in (2, 4, 16, 64, 256):
        small = chance.integers(0, 256, (max(2, height // step), max(2, width // step), 3), np.uint8)
        grown = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(grown, np.float32) * step**0.5
    return Image.fromarray((total / total.max() * 255).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """The image as a file."""
    packed = io.BytesIO()
    image.save(packed, form, **options)
    return packed.getvalue()


def photos() -> dict[str, bytes]:
    """The photos by name."""
    phone, shop = drawn(4000, 3000), drawn(1632, 1224)
    turned = Image.Exif()
    turned[0x0112] = 6
    layered = shop.convert("RGBA")
    layered.putalpha(shop.convert("L"))
    return {
        "12 MP JPEG": encoded(phone, "JPEG", quality=88),
        "12 MP JPEG, turned": encoded(phone, "JPEG", quality=88, exif=turned),
        "12 MP JPEG, progressive": encoded(phone, "JPEG", quality=88, progressive=True),
        "2 MP JPEG": encoded(shop, "JPEG", quality=88),
        "2 MP JPEG, progressive": encoded(shop, "JPEG", quality=88, progressive=True),
        "2 MP PNG": encoded(shop, "PNG", compress_level=1),
        "2 MP PNG with alpha": encoded(layered, "PNG", compress_level=1),
        "2 MP WebP": encoded(shop, "WEBP", quality=85),
        "64 MP JPEG": encoded(drawn(9200, 6900), "JPEG", quality=80),
        "48 MP PNG": encoded(Image.new("RGB", (8000, 6000), "red"), "PNG"),
    }


@contextmanager
def decoder(server: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that decodes with the code in the folder `server`."""
    command = [sys.executable, "-c", PROGRAM]
    # The folder comes first on the path, before what is installed.
    environment = {"PYTHONPATH": str(server), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(process: subprocess.Popen[str], path: Path, repeats: int) -> tuple[float, float, str]:
    """CPU milliseconds of one decoding, megabytes, and a hash of the pixels."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps([str(path), repeats]), file=process.stdin, flush=True)
    spent, memory, pixels = json.loads(process.stdout.readline())
    return spent, memory, pixels


def main() -> None:
    """Prints one line a photo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--against", type=Path, help="`server` folder of another checkout")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    other = options.against.resolve() if options.against else ROOT / "server"
    with tempfile.TemporaryDirectory() as folder, decoder(other) as before, decoder(ROOT / "server") as after:
        for name, photo in photos().items():
            path = Path(folder) / "photo"
            path.write_bytes(photo)
            repeats = 1 if "64" in name or "48" in name else REPEATS
            was, now = ask(before, path, 1), ask(after, path, 1)
            turns = [(ask(before, path, repeats), ask(after, path, repeats)) for _ in range(options.turns)]
            ratios = [mine[0] / theirs[0] for theirs, mine in turns]
            print(
                f"{name:24} {statistics.median(each[1][0] for each in turns):7.1f} ms CPU  "
                f"+{max(each[1][1] for each in turns):4.0f} MB (was +{max(each[0][1] for each in turns):4.0f})  "
                f"ratio {statistics.median(ratios):.3f} ({min(ratios):.2f}-{max(ratios):.2f})  "
                f"pixels {'equal' if was[2] == now[2] else 'differ'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
