"""Checks whether a photo's answer depends on the other photos of its batch: `python -m load_tests.same_answers
--catalog DIR`.

Asks for 200 photos (those of a folder, and variations of them made by a fixed recipe) one at a time, many at once, and
among other callers' load. Rule: the same object ids; the same products in the same order wherever neighbouring
similarities differ by more than 1e-5; similarities within 1e-5. One JSON object on the last line.
"""

import argparse
import asyncio
import io
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from PIL import Image, ImageEnhance, ImageOps

from load_tests.generator.photos import SHOWROOM, Photos, read_photos
from load_tests.observe.scrapes import Between, scrape
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_client.local_server import LocalServer
from sightline_client.target import proxy_option

TOLERANCE = 1e-5
DEADLINE_S = 30.0
BACK_OFF_S = 0.05


class Place(NamedTuple):
    """One ranked product."""

    product: str
    similarity: float
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """One object's answer: its id, and its products in order."""

    object_id: str
    products: tuple["Place", ...]


Answer = tuple[Found, ...]


def main() -> int:
    """Compares the three ways; returns 0 when nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--count", type=int, default=200, help="photos and variations")
    arguments = parser.parse_args()
    asked = varied(read_photos(arguments.photos), arguments.count)
    with LocalServer(catalog=arguments.catalog) as server:
        result = asyncio.run(compare(server, asked))
    print(json.dumps(result))
    return 0 if not result["differences"] else 1


def varied(photos: Photos, count: int) -> list[bytes]:
    """`count` photos: the given ones, then the same mirrored, cropped, brightened, darkened, in that order."""
    made = list(photos.encoded)
    step = 0
    while len(made) < count:
        encoded = photos.encoded[len(made) % len(photos.encoded)]
        step += len(made) % len(photos.encoded) == 0
        made.append(variation(encoded, max(1, step)))
    return made[:count]


def variation(encoded: bytes, step: int) -> bytes:
    """The photo, changed by a recipe that depends on `step` alone."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB")
    if step % 2:
        picture = ImageOps.mirror(picture)
    margin = 0.02 * (step % 7)
    width, height = picture.size
    picture = picture.crop((int(margin * width), int(margin * height), width, height))
    picture = ImageEnhance.Brightness(picture).enhance(1.0 + 0.08 * (step % 5 - 2))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=90)
    return written.getvalue()


async def compare(server: LocalServer, photos: Sequence[bytes]) -> dict[str, Any]:
    """Asks three times and counts what differs from asking alone."""
    async with grpc.aio.insecure_channel(server.target, options=[proxy_option(server.target)]) as channel:
        stub = lens_service_pb2_grpc.LensServiceStub(channel)
        before = scrape(server.metrics_url)
        alone = [await ask(stub, photo) for photo in photos]
        middle = scrape(server.metrics_url)
        together = await ask_all(stub, photos, at_once=16)
        after = scrape(server.metrics_url)
        noise = asyncio.create_task(disturb(stub, photos))
        loaded = await ask_all(stub, list(reversed(photos)), at_once=5)
        noise.cancel()
        with suppress(asyncio.CancelledError):
            await noise
    differences = [
        *differing("together", alone, together),
        *differing("under load", alone, list(reversed(loaded))),
    ]
    for line in differences[:20]:
        print(line, file=sys.stderr)
    return {
        "photos": len(photos),
        "objects": sum(len(answer) for answer in alone),
        "mean_embed_batch_alone": Between(before, middle).mean_batch("crops"),
        "mean_embed_batch_together": Between(middle, after).mean_batch("crops"),
        "largest_similarity_difference": largest(alone, together, list(reversed(loaded))),
        "differences": len(differences),
    }


async def ask(stub: Any, photo: bytes) -> Answer:
    """One photo's answer; asks again while the server refuses. Raises for any other failure."""
    request = lens_service_pb2.SearchRequest(photo=photo, max_products=20)
    while True:
        try:
            events = [event async for event in stub.Search(request, timeout=DEADLINE_S)]
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(BACK_OFF_S)
            continue
        if any(event.WhichOneof("event") == "failure" for event in events):
            raise RuntimeError("an object could not be searched")
        return tuple(found(event.results) for event in events if event.WhichOneof("event") == "results")


def found(results: lens_service_pb2.ObjectResults) -> Found:
    """One object's answer without its display fields."""
    places = (Place(ranked.product.id, ranked.similarity, ranked.score) for ranked in results.products)
    return Found(results.object_id, tuple(places))


async def ask_all(stub: Any, photos: Sequence[bytes], *, at_once: int) -> list[Answer]:
    """The answers to all photos, `at_once` under way."""
    places = asyncio.Semaphore(at_once)

    async def one(photo: bytes) -> Answer:
        async with places:
            return await ask(stub, photo)

    return list(await asyncio.gather(*(one(photo) for photo in photos)))


async def disturb(stub: Any, photos: Sequence[bytes]) -> None:
    """Other callers, until cancelled: they are answered, refused, or leave early."""

    async def caller(first: int) -> None:
        for step in range(10**6):
            call = stub.Search(lens_service_pb2.SearchRequest(photo=photos[(first + step) % len(photos)]), timeout=5.0)
            with suppress(grpc.aio.AioRpcError):
                async for event in call:
                    if step % 3 == 0 and event.WhichOneof("event") == "detected":
                        break
            call.cancel()
            await asyncio.sleep(BACK_OFF_S)

    await asyncio.gather(*(caller(first * 17) for first in range(4)))


def differing(name: str, alone: Sequence[Answer], other: Sequence[Answer]) -> list[str]:
    """The differences of `other` from `alone`, as text."""
    lines = []
    for place, (one, two) in enumerate(zip(alone, other, strict=True)):
        if [item.object_id for item in one] != [item.object_id for item in two]:
            lines.append(f"photo {place} {name}: objects {[item.object_id for item in two]}")
            continue
        for mine, theirs in zip(one, two, strict=True):
            if (what := difference(mine.products, theirs.products)) is not None:
                lines.append(f"photo {place} {name}, {mine.object_id}: {what}")
    return lines


def difference(one: Sequence[Place], two: Sequence[Place]) -> str | None:
    """The reason why two rankings are not the same answer; None when they are.

    A product may have another rank only where its score, by which products are ordered, is within the tolerance of
    a neighbour's.
    """
    if len(one) != len(two):
        return f"{len(two)} products instead of {len(one)}"
    similarities = {place.product: place.similarity for place in one}
    for rank, (mine, theirs) in enumerate(zip(one, two, strict=True), start=1):
        if abs(similarities.get(theirs.product, theirs.similarity) - theirs.similarity) > TOLERANCE:
            return f"similarity {theirs.similarity} instead of {similarities[theirs.product]} for {theirs.product}"
        if mine.product != theirs.product and not tied(one, rank - 1):
            return f"{theirs.product} instead of {mine.product} at rank {rank}"
    return None


def tied(products: Sequence[Place], place: int) -> bool:
    """Returns whether a neighbour in the ranking has the same score within the tolerance."""
    beside = [products[near].score for near in (place - 1, place + 1) if 0 <= near < len(products)]
    return any(abs(score - products[place].score) <= TOLERANCE for score in beside)


def largest(alone: Sequence[Answer], *others: Sequence[Answer]) -> float:
    """The largest difference between the similarities of one product to one object."""
    worst = 0.0
    for other in others:
        for one, two in zip(alone, other, strict=True):
            for mine, theirs in zip(one, two, strict=False):
                given = {place.product: place.similarity for place in theirs.products}
                apart = (abs(p.similarity - given[p.product]) for p in mine.products if p.product in given)
                worst = max([worst, *apart])
    return worst


if __name__ == "__main__":
    sys.exit(main())
