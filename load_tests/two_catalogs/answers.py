"""The answers of each catalog, compared with those that it gave before the load.

Rule: similarities are compared, not only ids: both catalogs have the same products, and another embedder would give
other similarities.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from load_tests.generator.photos import Photos
from sightline_client import AsyncClient, Done, ObjectResults, SightlineError

SAME = 2e-3
"""Largest difference between two similarities of one photo and one product."""
EVERY_S = 0.5

Similarities = dict[str, dict[str, float]]
"""Object -> product -> similarity."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: the embedder that it names, and the similarities."""

    embedder: str
    similarities: Similarities

    def differs_from(self, calm: "Answer") -> bool:
        """True for another embedder, and where a product that both answers have is not as similar."""
        if self.embedder != calm.embedder or self.similarities.keys() != calm.similarities.keys():
            return True
        return any(
            abs(similarity - calm.similarities[item][product]) > SAME
            for item, products in self.similarities.items()
            for product, similarity in products.items()
            if product in calm.similarities[item]
        )


@dataclass(slots=True)
class Checks:
    """The outcome of the checks under load."""

    made: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)


async def ask(client: AsyncClient, photo: bytes, catalog: str) -> Answer:
    """One answer. Raises `SightlineError`, and `RuntimeError` for an object without products."""
    similarities: Similarities = {}
    embedder = ""
    async for event in client.search(photo, catalog=catalog):
        if isinstance(event, ObjectResults):
            similarities[event.object_id] = {each.product.id: each.similarity for each in event.products}
        elif isinstance(event, Done):
            embedder = event.embedder
    if not all(similarities.values()) or not similarities:
        raise RuntimeError(f"catalog {catalog}: an object without products")
    return Answer(embedder, similarities)


async def calm_answers(target: str, photos: Photos, catalogs: Sequence[str]) -> dict[tuple[str, int], Answer]:
    """The answers without load, by catalog and photo."""
    async with AsyncClient(target) as client:
        return {
            (name, place): await ask(client, photo, name)
            for name in catalogs
            for place, photo in enumerate(photos.encoded)
        }


async def check(target: str, photos: Photos, calm: dict[tuple[str, int], Answer], seconds: float) -> Checks:
    """Compares an answer of each catalog in turn every `EVERY_S`, for so many seconds."""
    checks, loop = Checks(), asyncio.get_running_loop()
    ends = loop.time() + seconds
    async with AsyncClient(target) as client:
        places = list(calm)
        while loop.time() < ends:
            name, place = places[checks.made * 7 % len(places)]
            checks.made += 1
            try:
                answer = await ask(client, photos.encoded[place], name)
                checks.wrong += answer.differs_from(calm[name, place])
            except (SightlineError, RuntimeError) as error:
                checks.errors.append(f"{name}: {error}")
            await asyncio.sleep(EVERY_S)
    return checks
