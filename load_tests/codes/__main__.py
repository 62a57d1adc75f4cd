"""Measures the reading of codes: `python -m load_tests.codes [--photos DIR]`.

Prints a line for each format with how many of the drawn photos were read right, and the milliseconds of CPU and of the
clock that reading takes of photos without a code. The last line is one JSON object; exit 1 when a bound is missed.
"""

import argparse
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from load_tests.codes.rendering import FORMATS, CodeShot, camera, code_photo, scene
from load_tests.codes.shots import shots
from sightline_server.domain.image import Frame
from sightline_server.settings import CodeSettings
from sightline_server.stages.codes.reading import read_codes
from sightline_server.stages.decode import DecodeLimits, decode

LIMITS = DecodeLimits(20 << 20, 64_000_000, 3072)
MAX_MS = 10.0
"""Milliseconds at p50 and p99 that reading may take of a photo without a code."""
TURNS = 3


def read_right(drawn: Sequence[tuple[CodeShot, int]], max_pixels: int) -> tuple[Counter[str], int]:
    """The numbers of codes of each format that were read right, and the number of wrong readings."""
    right: Counter[str] = Counter()
    wrong = 0
    for seed, (shot, gtin) in enumerate(drawn):
        found = {code.gtin for code in read_codes(decode(code_photo(shot, seed=seed), LIMITS), max_pixels)}
        right[shot.format] += gtin in found
        wrong += len(found - {gtin})
    return right, wrong


def plain_frames(photos: Path | None) -> Iterator[tuple[str, Frame]]:
    """Photos without a code: those of a folder, else drawn ones, of an ordinary size and of the largest frame."""
    if photos is not None:
        for path in sorted(photos.iterdir()):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
                yield "folder", decode(path.read_bytes(), LIMITS)
        return
    for seed in range(20):
        yield "1600x1200", drawn_frame(1600, 1200, seed)
        yield "3072x2304", drawn_frame(3072, 2304, seed)


def drawn_frame(width: int, height: int, seed: int) -> Frame:
    """The frame of a drawn scene without a code."""
    encoded = io.BytesIO()
    Image.fromarray(camera(scene(width, height, seed), seed)).save(encoded, "JPEG", quality=85)
    return decode(encoded.getvalue(), LIMITS)


def costs(photos: Path | None, max_pixels: int) -> dict[str, dict[str, float]]:
    """By kind of photo, the milliseconds that reading takes: p50 and p99 of the clock and of the thread's CPU."""
    spent: dict[str, list[tuple[float, float]]] = {}
    for kind, frame in plain_frames(photos):
        for _ in range(TURNS):
            clock, cpu = time.perf_counter(), time.thread_time()
            read_codes(frame, max_pixels)
            times = (time.perf_counter() - clock) * 1e3, (time.thread_time() - cpu) * 1e3
            spent.setdefault(kind, []).append(times)
    return {
        kind: {
            f"{name}_p{rank}_ms": round(float(np.percentile([each[place] for each in times], rank)), 2)
            for place, name in enumerate(("clock", "cpu"))
            for rank in (50, 99)
        }
        for kind, times in spent.items()
    }


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.codes", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos without a code; else some are drawn")
    parser.add_argument("--count", type=int, default=50, help="photos with a code")
    parser.add_argument("--all-formats", action="store_true", help="ITF-14 too")
    options = parser.parse_args()
    max_pixels = CodeSettings().max_pixels
    drawn = list(shots(options.count, tuple(FORMATS))) if options.all_formats else list(shots(options.count))
    right, wrong = read_right(drawn, max_pixels)
    for format, count in Counter(shot.format for shot, _ in drawn).items():
        print(f"{format:8} {right[format]} of {count} read")
    cost = costs(options.photos, max_pixels)
    for kind, times in cost.items():
        print(f"{kind:10} " + "  ".join(f"{name} {value}" for name, value in times.items()))
    total = sum(right.values())
    print(json.dumps({"read": total, "of": len(drawn), "wrong": wrong, "without_a_code": cost}))
    within = all(value <= MAX_MS for times in cost.values() for name, value in times.items() if name.startswith("cpu"))
    return 0 if total == len(drawn) and not wrong and within else 1


if __name__ == "__main__":
    sys.exit(main())
