"""Taps on the objects of the showroom: the boxes that they get, and the products.

    python -m load_tests.taps --catalog DIR [--points 3] [--grow] [--blind]

Each object of the truth is tapped in the middle of its box and at points of it by chance, which may be next to the
object. Where no detection of the usual confidence covers a tap, the square around it is searched as well, as a box:
that is what every such tap got before. With --grow the server has `detection.grow_taps`. With --blind the detector sees
no product, so that every tap grows or gets its square. Prints one JSON object on the last line: for each kind of point,
with the tap's own box and with squares, the mean overlap (IoU) with the truth's box, the share of at least one half,
and the share of taps whose product is among the first k, for all taps and for those that no detection covers; and how
the boxes were found. Exit code 1 when taps find fewer products than squares. DIR is the showroom's catalog.
"""

import argparse
import json
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load_tests.generator.photos import ROOT
from load_tests.look_closer import overlap
from sightline_client.answers import AnsweredObject
from sightline_client.events import Box, Point, TapBox
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.sync import Client
from sightline_server.domain.geometry import Box as PhotoBox
from sightline_server.domain.geometry import Point as PhotoPoint
from sightline_server.domain.items import UNSURE_LABEL
from sightline_server.settings import DetectionSettings

SHOWROOM = ROOT / "examples/showroom"
MOST_TAPS, MOST_PRODUCTS = 8, 10
PATIENT = {"SIGHTLINE_LIMITS__MAX_DEADLINE_S": "600"}
BLIND = {"SIGHTLINE_DETECTION__MIN_SCORE": "1", "SIGHTLINE_DETECTION__TAP_MIN_SCORE": "1"}
"""No detection of a product is sure enough; people are found as ever."""
GROWN = {"SIGHTLINE_DETECTION__GROW_TAPS": "true"}
KINDS = ("middle", "chance")


@dataclass(frozen=True, slots=True)
class Tap:
    """A tap on an object of the truth, and the square around it."""

    kind: str
    point: Point
    product_id: str
    box: Box
    square: Box


@dataclass(slots=True)
class Figures:
    """The figures of one way to box some taps."""

    overlaps: list[float] = field(default_factory=list)
    ranks: list[int | None] = field(default_factory=list)

    def add(self, tap: Tap, answered: AnsweredObject) -> None:
        """Counts one tap."""
        self.overlaps.append(overlap(answered.object.box, tap.box))
        ranks = [each.rank for each in answered.products if each.product.id == tap.product_id]
        self.ranks.append(min(ranks, default=None))

    def shown(self) -> dict[str, float]:
        """The figures by name."""
        count = max(1, len(self.ranks))
        return {
            "taps": len(self.ranks),
            "overlap": round(statistics.fmean(self.overlaps or [0.0]), 4),
            "overlap_half": round(sum(each >= 0.5 for each in self.overlaps) / count, 4),
            **{f"hit@{k}": round(self.hits(k) / count, 4) for k in (1, 5)},
        }

    def hits(self, k: int) -> int:
        """Taps whose product is among the first `k`."""
        return sum(rank is not None and rank <= k for rank in self.ranks)


@dataclass(slots=True)
class Comparison:
    """The figures of the taps of one kind: with their own boxes and with squares, of all and of those that need one."""

    own: Figures = field(default_factory=Figures)
    squares: Figures = field(default_factory=Figures)
    own_without: Figures = field(default_factory=Figures)
    squares_without: Figures = field(default_factory=Figures)
    found_by: Counter[str] = field(default_factory=Counter)

    def add(self, tap: Tap, answered: AnsweredObject, square: AnsweredObject | None) -> None:
        """Counts one tap; `square` is None where a detection covers it."""
        self.found_by[how_found(answered)] += 1
        self.own.add(tap, answered)
        self.squares.add(tap, square or answered)
        if square:
            self.own_without.add(tap, answered)
            self.squares_without.add(tap, square)

    def shown(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "all": {"taps": self.own.shown(), "squares": self.squares.shown()},
            "without_detection": {"taps": self.own_without.shown(), "squares": self.squares_without.shown()},
            "found_by": dict(self.found_by),
        }

    @property
    def worse(self) -> bool:
        """True where taps find fewer products than squares."""
        return any(self.own.hits(k) < self.squares.hits(k) for k in (1, 5))


def how_found(answered: AnsweredObject) -> str:
    """The way in which a tap's box was found."""
    if answered.object.label == UNSURE_LABEL:
        return "unsure detection"
    return answered.object.tap_box.value if answered.object.tap_box else "unknown"


def is_sure(answered: AnsweredObject) -> bool:
    """Returns whether the box is a detection of the usual confidence."""
    return answered.object.tap_box is TapBox.DETECTION and answered.object.label != UNSURE_LABEL


def taps(points: int) -> Iterator[tuple[Path, list[Tap]]]:
    """The photos with their taps; the same in every run."""
    chance, side = random.Random(0), DetectionSettings().tap_square
    for entry in json.loads((SHOWROOM / "truth.json").read_text()):
        found = []
        for each in entry["objects"]:
            box = Box(*each["box"])
            places = [((box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2)]
            places += [
                (chance.uniform(box.x_min, box.x_max), chance.uniform(box.y_min, box.y_max)) for _ in range(points)
            ]
            for number, (x, y) in enumerate(places):
                around = PhotoBox.square_around(PhotoPoint(x, y), side, entry["width"] / entry["height"])
                square = Box(around.x_min, around.y_min, around.x_max, around.y_max)
                found.append(Tap(KINDS[number > 0], Point(x, y), each["product_id"], box, square))
        yield SHOWROOM / entry["photo"], found


def measure(client: Client, points: int) -> dict[str, Comparison]:
    """The figures by kind of point."""
    found = {kind: Comparison() for kind in KINDS}
    for path, wanted in taps(points):
        photo = path.read_bytes()
        for start in range(0, len(wanted), MOST_TAPS):
            some = wanted[start : start + MOST_TAPS]
            answers = client.find(photo, regions=[tap.point for tap in some], max_products=MOST_PRODUCTS).objects
            open_ones = [tap for tap, each in zip(some, answers, strict=True) if not is_sure(each)]
            squares: dict[Tap, AnsweredObject] = {}
            if open_ones:
                boxes = [tap.square for tap in open_ones]
                searched = client.find(photo, regions=boxes, max_products=MOST_PRODUCTS).objects
                squares = dict(zip(open_ones, searched, strict=True))
            for tap, answered in zip(some, answers, strict=True):
                found[tap.kind].add(tap, answered, squares.get(tap))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and compares."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.taps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--catalog", type=Path, required=True, help="the showroom's catalog")
    parser.add_argument("--points", type=int, default=3, help="points by chance in each object")
    parser.add_argument("--grow", action="store_true", help="grow taps that no detection covers by colour")
    parser.add_argument("--blind", action="store_true", help="the detector sees no product")
    given = parser.parse_args(arguments)
    environment = {**PATIENT, **(BLIND if given.blind else {}), **(GROWN if given.grow else {})}
    with (
        LocalServer(catalog=given.catalog, env=environment, start_timeout_s=300) as server,
        Client(ClientOptions(server.target, timeout_s=300)) as client,
    ):
        found = measure(client, given.points)
    print(json.dumps({kind: each.shown() for kind, each in found.items()}))
    return 1 if any(each.worse for each in found.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
