"""One catalog written and searched for a long time: versions, files, bytes and memory stay within bounds.

    python -m load_tests.catalog_soak [--minutes 30] [--rate 50] [--images-rate 0] [--photos 5] [--products 10000]
                                      [--checkpoint-s 30] [--catalog DIR --images DIR]
Checkpoints are made more often than a server makes them by itself, so that a revision more than the catalog keeps comes
early. Growth counts from the first third of the time on, in which everything finds its size. Prints a line every 30
seconds, then one line a bound, then one JSON object; exit code 1 when a bound is broken.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from load_tests.attacks.__main__ import demo_catalog
from load_tests.attacks.frame import MB, Bound
from load_tests.catalog_churn.__main__ import DEADLINE_S, embedder_of, problems, say
from load_tests.catalog_churn.figures import FRESHNESS, finite, of_turn
from load_tests.catalog_churn.shop import Shop, read_seeds, served
from load_tests.catalog_churn.turns import Load, Turn, play
from load_tests.catalog_churn.writing import Churn
from load_tests.generator.photos import ROOT, SHOWROOM, read_photos
from load_tests.generator.process import Generator
from load_tests.observe.holdings import Watch, rss_slopes
from load_tests.observe.machine import quiet, read_cpu
from load_tests.observe.scrapes import Scrape, scrape

EVERY_S = 30.0
LOOK_EVERY_S = 5.0
WINDOW_S = 120.0
"""Longer than from one merge to the next, which are 100 s apart at 50 products a second. The memory of a merge is up to
100 MB, given back when it is over: lines through all samples of two equal runs differed by 1 MB a minute."""
GROWTH_MINUTES = 10
"""Of a run whose growth is measured, at least: three windows, after the first third of the time."""
MOST_VERSIONS = 60
"""Versions of the base: a checkpoint makes two, 25 revisions are kept at most, and the rest is slack."""
MOST_GROWTH = 1.5
"""Files and bytes at the end over the most of the first third."""
MB_A_MINUTE = 1.0


@dataclass(frozen=True, slots=True)
class Disk:
    """A catalog's folder at one instant, with the figures that the server shows of it."""

    files: int
    megabytes: float
    versions: float
    delta_images: float
    recall: float

    @classmethod
    def of(cls, folder: Path, now: Scrape) -> "Disk":
        """The folder as it is now; files that are removed meanwhile do not count."""
        sizes = [size for path in folder.rglob("*") if (size := size_of(path)) is not None]
        return cls(
            len(sizes),
            round(sum(sizes) / MB, 2),
            now.sum("sightline_catalog_base_versions"),
            now.sum("sightline_catalog_delta_images"),
            now.sum("sightline_recall_at_10"),
        )


def size_of(path: Path) -> int | None:
    """Bytes of a file; None for a folder and for what is not there any more."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


class Disks:
    """Samples the folder during a block, in a thread; `all` are the samples."""

    def __init__(self, shop: Shop, every_s: float) -> None:
        self._shop, self._every_s = shop, every_s
        self._over = Event()
        self._thread = Thread(target=self._run, name="disk", daemon=True)
        self.all: list[Disk] = []

    def __enter__(self) -> "Disks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._sample()

    def _sample(self) -> None:
        self.all.append(Disk.of(self._shop.folder, scrape(self._shop.metrics_url)))
        say(str(self.all[-1]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak of the command line."""
    options = parse(arguments)
    seeds = read_seeds(options.catalog or demo_catalog(), options.images)
    seconds = 60 * options.minutes
    load = Load(options.rate, options.images_rate, options.photos, seconds, options.checkpoint_s)
    with served(seeds, options.products) as shop:
        found = soak(shop, list(read_photos(SHOWROOM).requests), load)
    print(json.dumps(found), flush=True)
    return 0 if found["kept"] else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.catalog_soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=50.0, help="products a second with ready embeddings")
    parser.add_argument("--images-rate", type=float, default=0.0, help="products a second with an image to embed")
    parser.add_argument("--photos", type=float, default=5.0, help="searches a second")
    parser.add_argument("--products", type=int, default=10_000, help="products of the catalog")
    parser.add_argument("--checkpoint-s", type=float, default=30.0, help="seconds between two checkpoints")
    parser.add_argument("--catalog", type=Path, help="whose vectors are copied (default: the demo's)")
    parser.add_argument("--images", type=Path, default=ROOT / "examples" / "showroom", help="to what its links lead")
    return parser.parse_args(arguments)


def soak(shop: Shop, requests: list[bytes], load: Load) -> dict[str, Any]:
    """Writes and searches, samples processes and disk, and prints what they showed."""
    churn = Churn(shop.seeds, asyncio.run(embedder_of(shop)), shop.products)
    every_s = min(EVERY_S, load.seconds / 10)
    with (
        Generator(shop.target, requests, deadline_s=DEADLINE_S) as generator,
        Watch(shop.pid, generator.pid, min(LOOK_EVERY_S, every_s)) as watch,
        Disks(shop, every_s) as disks,
    ):
        before = read_cpu(shop.pid, generator.pid)
        turn = play(shop, churn, generator, len(requests), load, writes=True)
        machine = quiet(before, read_cpu(shop.pid, generator.pid))
    slopes = rss_slopes(watch.looks, skip=1 / 3, window_s=WINDOW_S)
    held = bounds(turn, disks.all, slopes)
    for bound in held:
        say(f"{'pass ' if bound.kept else 'FAIL '} bound {bound}")
    if not slopes:
        say(f"too short to measure the growth of memory: that takes {GROWTH_MINUTES} minutes or more")
    for error in problems([turn]):
        say(f"error {error}")
    return {
        "minutes": load.seconds / 60,
        "turn": of_turn(turn),
        "disk": [asdict(disk) for disk in disks.all],
        "rss_mb_per_minute": slopes,
        "bounds": {bound.name: finite(bound.measured) for bound in held},
        "machine": machine,
        "kept": all(bound.kept for bound in held),
    }


def bounds(turn: Turn, disks: Sequence[Disk], slopes: dict[str, float]) -> list[Bound]:
    """The bounds on all figures. Without `slopes`, in a run that is too short for them, growth has none."""
    early, late = disks[: len(disks) // 3 + 1], disks[-1]
    finding, errors = turn.finding, [*turn.ready.errors, *turn.pictured.errors]
    growth = "MB a minute of resident memory, the steepest process"
    return [
        Bound("versions of the base", max(disk.versions for disk in disks), MOST_VERSIONS),
        Bound(
            "files at the end over the most of the first third", late.files / max(d.files for d in early), MOST_GROWTH
        ),
        Bound(
            "bytes at the end over the most of the first third",
            late.megabytes / max(d.megabytes for d in early),
            MOST_GROWTH,
        ),
        *([Bound(growth, max(slopes.values()), MB_A_MINUTE)] if slopes else []),
        Bound("1 - recall@10, the worst sample", 1 - min(disk.recall for disk in disks), 0),
        Bound("s from acknowledged to found, p99", turn.seen.whole.quantile_bound(FRESHNESS, 0.99), 1.0),
        Bound("acknowledged and not found, or found as before", finding.missed + finding.stale, 0),
        Bound("writes refused", len(errors), 0),
        Bound("searches not answered", int(np.isnan(turn.searches).sum()), 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
