"""People greyed out of photos: how much of them is hidden, and what that costs, with the real models.

    python -m load_tests.redaction --catalog DIR [--composites 20] [--turns 3]

Real people (images that anybody may use, from the package index) are pasted into rooms of the showroom, so that the
truth of every pixel is known. Prints one JSON object on the last line: people found, the share of the found people's
pixels that stays visible, the largest difference of an embedding when the hidden pixels were noise before, and, from
two servers in turn, hits with the truth's boxes and milliseconds of a call with redaction and without. Exit code 1 when
a bound is broken. DIR is the showroom's catalog.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.generator.photos import ROOT
from sightline_client.evaluation import best_rank
from sightline_client.events import Box as ClientBox
from sightline_client.events import FailureReason
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.sync import Client
from sightline_models.places import default_repository
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.ports import Engine
from sightline_server.settings import DetectionSettings
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import detector_input, split_answer, to_scene
from sightline_server.stages.redact import GREY, Redaction, redacted, redaction
from tests.support.engine import embedded_engine, sightline_home
from tests.support.people import Composite, composites

LEAST_FOUND, MOST_VISIBLE, MOST_DIFFERENCE = 0.9, 0.02, 1e-6
LIMITS = DecodeLimits(20 << 20, 64_000_000, 1280)
SETTINGS = DetectionSettings()
DEADLINE_S = 60.0
TRUTH = ROOT / "examples/showroom/truth.json"
SEEN = 0.6
"""Products of which less is visible in the room are left out."""


@dataclass(frozen=True, slots=True)
class Person:
    """One composite: the share 0..1 of the person's pixels that stay visible, and what the embeddings differ by."""

    visible: float
    difference: float

    @property
    def found(self) -> bool:
        """True where the detector saw the person."""
        return self.visible < 0.5


async def people(made: Sequence[Composite]) -> list[Person]:
    """The hidden part of the person in each composite, by an engine with the models of this checkout."""
    engine = embedded_engine(default_repository(sightline_home()))
    await engine.start()
    try:
        return [await person(engine, each) for each in made]
    finally:
        await engine.stop()


async def person(engine: Engine, made: Composite) -> Person:
    """The hidden part of the person in one composite."""
    frame = decode(made.photo, LIMITS)
    hidden = await hidden_in(engine, frame)
    if hidden is None:
        return Person(1.0, 0.0)
    mask = redacted(Frame(np.zeros_like(frame.pixels)), hidden).pixels[..., 0] == GREY
    solid = made.alpha > 0.5
    noise = np.random.default_rng(0).integers(0, 256, frame.pixels.shape, np.uint8)
    noisy = Frame(np.where(mask[..., None], noise, frame.pixels))
    around = Box(*(getattr(made.person, each) for each in ("x_min", "y_min", "x_max", "y_max"))).grown(0.2)
    boxes = (Box.whole(), around, *hidden.people)
    embeddings = [await embedded(engine, redacted(each, hidden), boxes) for each in (frame, noisy)]
    return Person(float((solid & ~mask).sum() / solid.sum()), float(np.abs(embeddings[0] - embeddings[1]).max()))


async def hidden_in(engine: Engine, frame: Frame) -> Redaction | None:
    """The parts of a photo that a server hides."""
    spec = engine.spec(DETECTOR)
    seen = detector_input(frame, spec)
    answer = await engine.runner(DETECTOR).infer({"IMAGES": [seen.pixels]}, deadline=time.monotonic() + DEADLINE_S)
    return redaction(to_scene(split_answer(answer, 1, spec)[0], seen.placement, spec, SETTINGS), SETTINGS)


async def embedded(engine: Engine, frame: Frame, boxes: Sequence[Box]) -> NDArray[np.float32]:
    """The embeddings float32 [N,D] of parts of a frame."""
    crops = [crop(frame, box, engine.spec(EMBEDDER)).pixels for box in boxes]
    answer = await engine.runner(EMBEDDER).infer({"CROPS": crops}, deadline=time.monotonic() + DEADLINE_S)
    embeddings: NDArray[np.float32] = answer["EMBEDDINGS"]
    return embeddings


@dataclass(frozen=True, slots=True)
class Wanted:
    """A product of the room behind the person, with its box."""

    product_id: str
    box: ClientBox


def products_of() -> dict[str, list[Wanted]]:
    """The products of each photo of the showroom that can be seen well."""
    return {
        Path(entry["photo"]).name: [
            Wanted(each["product_id"], ClientBox(*each["box"])) for each in entry["objects"] if each["visible"] >= SEEN
        ]
        for entry in json.loads(TRUTH.read_text(encoding="utf-8"))
    }


def hits(clients: Sequence[Client], made: Sequence[Composite]) -> list[dict[str, float]]:
    """Hits of each server for the products that no server refuses as a person."""
    truth = products_of()
    ranks: list[tuple[int | None, ...]] = []
    for each in made:
        for wanted in truth[each.room]:
            answers = [client.find(each.photo, regions=(wanted.box,), max_products=5) for client in clients]
            failures = [found.failure for answer in answers for found in answer.objects if found.failure is not None]
            if not any(failure.reason is FailureReason.PERSON for failure in failures):
                ranks.append(tuple(best_rank(answer, wanted.product_id) for answer in answers))
    columns = list(zip(*ranks, strict=True))
    return [
        {"objects": len(column), "hit@1": share_within(column, 1), "hit@5": share_within(column, 5)}
        for column in columns
    ]


def share_within(ranks: Sequence[int | None], depth: int) -> float:
    """Share of the ranks that are at most `depth`."""
    return round(sum(rank is not None and rank <= depth for rank in ranks) / len(ranks), 4)


def milliseconds(clients: Sequence[Client], made: Sequence[Composite], turns: int) -> list[float]:
    """Median milliseconds of a call of each server for whole photos, in alternating order."""
    taken: list[list[float]] = [[] for _ in clients]
    for turn in range(turns + 1):
        for each in made:
            for place in sorted(range(len(clients)), reverse=turn % 2 == 1):
                began = time.perf_counter()
                clients[place].find(each.photo)
                if turn:  # the first turn warms up
                    taken[place].append(1e3 * (time.perf_counter() - began))
    return [round(statistics.median(each), 2) for each in taken]


def served(catalog: Path, made: Sequence[Composite], turns: int) -> dict[str, Any]:
    """The figures of a server with redaction and of one without."""
    names = {"with": "true", "without": "false"}
    with ExitStack() as stack:
        clients = []
        for value in names.values():
            server = LocalServer(catalog=catalog, env={"SIGHTLINE_DETECTION__REDACT_PEOPLE": value})
            target = stack.enter_context(server).target
            clients.append(stack.enter_context(Client(ClientOptions(target=target, timeout_s=DEADLINE_S))))
        found, times = hits(clients, made), milliseconds(clients, made, turns)
    return {name: found[place] | {"p50_ms": times[place]} for place, name in enumerate(names)}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="the showroom's catalog")
    parser.add_argument("--composites", type=int, default=20, help="photos with a person (default 20)")
    parser.add_argument("--turns", type=int, default=3, help="measured turns of whole photos (default 3)")
    args = parser.parse_args(argv)
    made = list(composites(args.composites))
    print(f"{len(made)} composites; hiding people", file=sys.stderr)
    hidden = asyncio.run(people(made))
    found = [each for each in hidden if each.found]
    visible = statistics.fmean(each.visible for each in found) if found else 1.0
    figures: dict[str, Any] = {
        "composites": len(made),
        "found": len(found),
        "visible_share": round(visible, 4),
        "most_visible_share": round(max((each.visible for each in found), default=1.0), 4),
        "embedding_difference": max((each.difference for each in hidden), default=0.0),
    }
    print("two servers, with redaction and without", file=sys.stderr)
    figures |= served(args.catalog, made, args.turns)
    broken = (
        len(found) < LEAST_FOUND * len(made)
        or visible > MOST_VISIBLE
        or figures["embedding_difference"] > MOST_DIFFERENCE
    )
    print(json.dumps(figures))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
