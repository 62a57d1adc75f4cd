"""One turn: searches at a steady rate from a separate process, checks of single products, and writes or none.

Rule: an idle turn has the same searches and checks as one of churn, so that writes alone are the difference.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from load_tests.catalog_churn.events import CHECKPOINT, MERGE, Seen, overlapping, scraped
from load_tests.catalog_churn.finding import Finder, Finding
from load_tests.catalog_churn.shop import NAME, Shop
from load_tests.catalog_churn.writing import Churn, Writing, write
from load_tests.generator.arrivals import constant
from load_tests.generator.process import Generator
from load_tests.generator.records import Run
from load_tests.generator.tasks import Due
from sightline_client import AsyncCatalogClient, AsyncClient

CHECKPOINT_FEED = "checkpoint.jsonl"


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a turn: products a second with embeddings and with images, photos a second, and its length.

    A checkpoint is made every `checkpoint_s`, in addition to those that the server makes.
    """

    rate: float
    images_rate: float
    photos: float
    seconds: float
    checkpoint_s: float
    check_s: float = 2.0


@dataclass(slots=True)
class Turn:
    """The figures of one turn. `searches` are the seconds of each search, NaN for one that was not answered."""

    searches: NDArray[np.float64]
    busy: NDArray[np.bool_]
    """The searches of which some part ran during a merge or a checkpoint."""
    at_s: NDArray[np.float64]
    """Seconds of the turn at which each search was due."""
    late_s: NDArray[np.float64]
    """Seconds from then until it was sent: the machine itself may pause, and the server is not the cause then."""
    seen: Seen
    codes: dict[str, int]
    finding: Finding
    ready: Writing = field(default_factory=Writing)
    pictured: Writing = field(default_factory=Writing)


def play(shop: Shop, churn: Churn, generator: Generator, requests: int, load: Load, *, writes: bool) -> Turn:
    """One turn with the first `requests` requests of the generator; without `writes` it is idle."""
    ready, pictured = Writing(), Writing()
    calls = [Due(at, place % requests) for place, at in enumerate(constant(load.photos, load.seconds))]
    with scraped(shop.metrics_url) as seen:
        began = time.monotonic()
        generator.start(calls)
        finding = asyncio.run(side_by_side(shop, churn, load, [ready, pictured] if writes else []))
        run = generator.finish(load.seconds)
    searches = np.where(run.good, run.latency_s, np.nan)
    spans = [*seen.spans(MERGE), *seen.spans(CHECKPOINT)]
    busy = overlapping(began + run.intended, began + run.ended, spans)
    late_s = run.sent - run.intended
    return Turn(searches, busy, run.intended, late_s, seen, codes_of(run), finding, ready, pictured)


def codes_of(run: Run) -> dict[str, int]:
    """The number of searches by their code; INCOMPLETE for those that were answered only in part."""
    incomplete = int((run.of("OK") & ~run.good).sum())
    return dict(run.codes) | ({"INCOMPLETE": incomplete} if incomplete else {})


async def side_by_side(shop: Shop, churn: Churn, load: Load, streams: list[Writing]) -> Finding:
    """Writes the streams, makes checkpoints and checks products, for the length of a turn."""
    async with AsyncClient(shop.target) as search, AsyncCatalogClient(shop.catalog_target) as catalog:
        finder = Finder(shop.seeds, search, catalog, load.check_s)
        async with asyncio.TaskGroup() as tasks:
            checks = tasks.create_task(finder.run(streams, load.seconds))
            if streams:
                ready, pictured = streams
                tasks.create_task(write(catalog, churn.ready_products(), load.rate, load.seconds, ready))
                tasks.create_task(write(catalog, churn.pictured_products(), load.images_rate, load.seconds, pictured))
                tasks.create_task(checkpoints(catalog, shop.feeds, churn, load))
        return checks.result()


async def checkpoints(catalog: AsyncCatalogClient, feeds: Path, churn: Churn, load: Load) -> None:
    """Imports one product every `checkpoint_s`: an import ends with a checkpoint of all that was written."""
    began = time.monotonic()
    turns = int((load.seconds - 1e-9) // load.checkpoint_s)
    for turn in range(1, turns + 1):
        await asyncio.sleep(max(0.0, began + turn * load.checkpoint_s - time.monotonic()))
        vector = churn.seeds.copy(0, churn.products + turn)
        row = {"id": "imported", "title": "imported", "image_link": "imported.jpg", "embedder": churn.embedder}
        (feeds / CHECKPOINT_FEED).write_text(json.dumps({**row, "embeddings": [vector.tolist()]}) + "\n")
        await catalog.transfers.wait(await catalog.transfers.import_feed(NAME, CHECKPOINT_FEED, embedded=True))
