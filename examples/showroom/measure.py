"""Measure Sightline on the showroom: how much the detector finds, and how often search names the right product.

Everything goes through gRPC to a real server. Without `--target` a catalog is built from feed.csv in a temporary folder
and a server is started on it, as `sightline eval --catalog` does. One rule: the truth's boxes are the renderer's, and
every photo and object of truth.json counts. Prints one JSON object; the exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline_client.answers import Answer
from sightline_client.evaluation import best_rank
from sightline_client.events import Box, ObjectSource
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.sync import Client

HERE = Path(__file__).resolve().parent
SEEN, OVERLAP = 0.6, 0.5
MOST_OBJECTS, MOST_PRODUCTS = 16, 100
GOALS = {
    "recall": 0.6,
    "truth_boxes_hit@1": 0.5,
    "truth_boxes_hit@5": 0.8,
    "kind_over_chance": 2.0,
    "whole_path_hit@5": 0.5,
}


@dataclass(frozen=True, slots=True)
class Thing:
    """A product in a photo, as the truth has it."""

    product_id: str
    box: Box
    visible: float


@dataclass(frozen=True, slots=True)
class Found:
    """The server's answer for one object: ranks from 1, None if the product was not returned."""

    thing: Thing
    overlap: float
    path_rank: int | None
    box_rank: int | None
    kind_rank: int | None


def main() -> int:
    args = _arguments()
    kinds = {row["id"]: row["product_type"] for row in _rows(HERE / "feed.csv")}
    photos = [
        (entry["photo"], [_thing(o) for o in entry["objects"]])
        for entry in json.loads((HERE / "truth.json").read_text())
    ]
    with ExitStack() as stack:
        target = args.target or stack.enter_context(LocalServer(catalog=_catalog(stack))).target
        options = ClientOptions(target=target, insecure=args.insecure, timeout_s=30.0)
        client = stack.enter_context(Client(options))
        found = [each for name, things in photos for each in _photo(client, HERE / name, things, kinds)]
    result = {**figures(found, kinds), "photos": len(photos), "products": len(kinds)}
    missed = [name for name, goal in GOALS.items() if result[name] < goal]
    print(json.dumps({**result, "missed_goals": missed}, indent=2))
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", metavar="HOST:PORT", help="ask this server, which serves the showroom's catalog")
    parser.add_argument("--insecure", action="store_true", help="allow a server on another machine without TLS")
    return parser.parse_args()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _thing(entry: dict[str, Any]) -> Thing:
    return Thing(entry["product_id"], Box(*entry["box"]), entry["visible"])


def _catalog(stack: ExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "catalog"
    program = str(Path(sys.executable).with_name("sightline"))
    build = [program, "catalog", "build", str(HERE / "feed.csv"), "--out", str(folder), "--strict"]
    subprocess.run(build, check=True, stdout=sys.stderr)
    return folder


def _photo(client: Client, path: Path, things: Sequence[Thing], kinds: dict[str, str]) -> list[Found]:
    photo = path.read_bytes()
    detected = client.find(photo, max_objects=MOST_OBJECTS)
    boxes = [each.object.box for each in detected.objects if each.object.source is ObjectSource.DETECTOR]
    found = []
    for thing in things:
        asked = client.find(photo, regions=(thing.box,), max_products=MOST_PRODUCTS)
        overlap = max((_overlap(box, thing.box) for box in boxes), default=0.0)
        ranks = best_rank(detected, thing.product_id), best_rank(asked, thing.product_id)
        found.append(Found(thing, overlap, *ranks, _rank_in_kind(asked, thing.product_id, kinds)))
    return found


def _rank_in_kind(answer: Answer, product_id: str, kinds: dict[str, str]) -> int | None:
    ranked = [each.product.id for each in answer.objects[0].products]
    same = [each for each in ranked if kinds[each] == kinds[product_id]]
    return same.index(product_id) + 1 if product_id in same else None


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.x_max, other.x_max) - max(one.x_min, other.x_min)
    height = min(one.y_max, other.y_max) - max(one.y_min, other.y_min)
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box.x_max - box.x_min) * (box.y_max - box.y_min) for box in (one, other))
    return width * height / (areas - width * height)


def figures(found: Sequence[Found], kinds: dict[str, str]) -> dict[str, Any]:
    """Recall, hits at 1 and 5 with the truth's boxes and over the whole path, and hit@1 within the kind."""
    clear = [each for each in found if each.thing.visible >= SEEN]
    of_kind = list(kinds.values())
    chance = statistics.fmean(1 / of_kind.count(kinds[each.thing.product_id]) for each in found)
    in_kind = _hit([each.kind_rank for each in found], 1)
    return {
        "recall": round(sum(each.overlap >= OVERLAP for each in clear) / len(clear), 4),
        "truth_boxes_hit@1": _hit([each.box_rank for each in found], 1),
        "truth_boxes_hit@5": _hit([each.box_rank for each in found], 5),
        "kind_hit@1": in_kind,
        "kind_chance": round(chance, 4),
        "kind_over_chance": round(in_kind / chance, 4),
        "whole_path_hit@5": _hit([each.path_rank for each in found], 5),
        "whole_path_hit@1": _hit([each.path_rank for each in found], 1),
        "objects": len(found),
        "objects_visible": len(clear),
        "recall_by_kind": _recall_by_kind(clear),
    }


def _recall_by_kind(clear: Sequence[Found]) -> dict[str, str]:
    by_kind: dict[str, list[bool]] = {}
    for each in clear:
        by_kind.setdefault(each.thing.product_id.rsplit("-", 1)[0], []).append(each.overlap >= OVERLAP)
    return {kind: f"{sum(hits)}/{len(hits)}" for kind, hits in sorted(by_kind.items())}


def _hit(ranks: Sequence[int | None], depth: int) -> float:
    return round(sum(rank is not None and rank <= depth for rank in ranks) / len(ranks), 4)


if __name__ == "__main__":
    raise SystemExit(main())
