"""A second round in the rooms of the showroom: what it finds in addition, and what it takes.

    python -m load_tests.look_closer --catalog DIR [--turns 3]

Each photo is searched without a second round and with one, in turn, with `max_objects` 16. Prints one JSON object on
the last line, for both: objects, the share of the truth's objects that some object overlaps by one half, the share
whose product is among the first k of some object, and the medians of the milliseconds to the first result and to the
end. Exit code 1 when the first answer is not the same in both, or a second round was left out. DIR is the showroom's
catalog.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load_tests.generator.photos import ROOT
from sightline_client.answers import Answer
from sightline_client.evaluation import best_rank
from sightline_client.events import Box, Event, ObjectResults
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.sync import Client

SHOWROOM = ROOT / "examples/showroom"
SEEN, OVERLAP = 0.6, 0.5
"""Objects of which less is visible do not count, and the overlap (IoU) from which on one is found."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer, with the seconds to its first result and to its end."""

    answer: Answer
    first_s: float
    whole_s: float


@dataclass(slots=True)
class Figures:
    """The figures of one way to search, over all photos."""

    objects: int = 0
    truths: int = 0
    overlapped: int = 0
    ranks: list[int | None] = field(default_factory=list)
    firsts_s: list[float] = field(default_factory=list)
    wholes_s: list[float] = field(default_factory=list)

    def add(self, timed: Timed, truth: Sequence[tuple[str, Box]]) -> None:
        """Counts one photo, in which `truth` is visible."""
        boxes = [each.object.box for each in timed.answer.objects]
        self.objects += len(boxes)
        self.truths += len(truth)
        self.overlapped += sum(any(overlap(box, wanted) >= OVERLAP for box in boxes) for _, wanted in truth)
        self.ranks += [best_rank(timed.answer, product_id) for product_id, _ in truth]

    def took(self, timed: Timed) -> None:
        """Notes the times of a search."""
        self.firsts_s.append(timed.first_s)
        self.wholes_s.append(timed.whole_s)

    def shown(self) -> dict[str, float]:
        """The figures by name."""
        hits = {f"hit@{k}": sum(rank is not None and rank <= k for rank in self.ranks) for k in (1, 5)}
        return {
            "objects": self.objects,
            "overlapped": round(self.overlapped / self.truths, 4),
            **{name: round(count / self.truths, 4) for name, count in hits.items()},
            "first_result_ms": round(1e3 * statistics.median(self.firsts_s), 1),
            "whole_ms": round(1e3 * statistics.median(self.wholes_s), 1),
        }


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.x_max, other.x_max) - max(one.x_min, other.x_min)
    height = min(one.y_max, other.y_max) - max(one.y_min, other.y_min)
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box.x_max - box.x_min) * (box.y_max - box.y_min) for box in (one, other))
    return width * height / (areas - width * height)


def search(client: Client, photo: bytes, look_closer: bool) -> Timed:
    """One search, timed."""
    began, first_s = time.perf_counter(), 0.0
    events: list[Event] = []
    for event in client.search(photo, max_objects=16, max_products=10, look_closer=look_closer):
        if isinstance(event, ObjectResults) and not first_s:
            first_s = time.perf_counter() - began
        events.append(event)
    return Timed(Answer.of(events), first_s, time.perf_counter() - began)


def measure(target: str, turns: int) -> dict[str, Any]:
    """The figures of both ways, and the photos whose first answer was not the same or without a second round."""
    plain, closer = Figures(), Figures()
    different, left_out = [], []
    truths = json.loads((SHOWROOM / "truth.json").read_text())
    with Client(ClientOptions(target, timeout_s=30.0)) as client:
        for turn in range(turns):
            for entry in truths:
                photo = (SHOWROOM / entry["photo"]).read_bytes()
                without, both = search(client, photo, False), search(client, photo, True)
                plain.took(without)
                closer.took(both)
                if turn:
                    continue
                truth = [
                    (each["product_id"], Box(*each["box"])) for each in entry["objects"] if each["visible"] >= SEEN
                ]
                plain.add(without, truth)
                closer.add(both, truth)
                count = len(without.answer.objects)
                if [each.object for each in both.answer.objects[:count]] != [
                    each.object for each in without.answer.objects
                ]:
                    different.append(entry["photo"])
                if both.answer.done is None or both.answer.done.skipped:
                    left_out.append(entry["photo"])
    return {"plain": plain.shown(), "closer": closer.shown(), "different": different, "left_out": left_out}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.look_closer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--catalog", type=Path, required=True, help="the showroom's catalog")
    parser.add_argument("--turns", type=int, default=3, help="how often each photo is searched in both ways")
    given = parser.parse_args(arguments)
    with LocalServer(catalog=given.catalog) as server:
        found = measure(server.target, given.turns)
    print(json.dumps(found))
    return 1 if found["different"] or found["left_out"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
