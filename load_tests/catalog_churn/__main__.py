"""One catalog written and searched at once: is a write found at once, and are searches as fast as without writes?

    python -m load_tests.catalog_churn [--rate 100] [--images-rate 5] [--photos 2] [--turns 3] [--seconds 60]
                                       [--products 10000] [--catalog DIR --images DIR]
Idle and churn take turns on one server, which has a catalog of copies of DIR's images. Products with ready embeddings
replace those of the catalog, so that a merge is due after each 5,000 of them (50 s); an import makes a checkpoint in
the middle of each churn turn. Prints each turn, then one line a bound, then one JSON object; exit code 1 when a bound
is broken. One worker: several of them cannot write (docs/design/adr/0021).
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_tests.attacks.__main__ import demo_catalog
from load_tests.catalog_churn.figures import bounds, compared, finite, of_turn
from load_tests.catalog_churn.shop import NAME, Shop, read_seeds, served
from load_tests.catalog_churn.turns import Load, Turn, play
from load_tests.catalog_churn.writing import Churn
from load_tests.generator.photos import ROOT, SHOWROOM, read_photos
from load_tests.generator.process import Generator
from load_tests.observe.machine import quiet, read_cpu
from sightline_client import AsyncCatalogClient
from sightline_server.index.live.policy import MergePolicy

WARM_UP_S = 6.0
DEADLINE_S = 10.0
DEAD_AT = MergePolicy().dead_exact
"""Replaced products of the catalog from which on a merge is due."""
LATEST = 1.1
"""A turn that replaces so many times `DEAD_AT` products has a merge that is due and has ended, however it begins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays the turns of the command line."""
    options = parse(arguments)
    seeds = read_seeds(options.catalog or demo_catalog(), options.images)
    load = Load(options.rate, options.images_rate, options.photos, options.seconds, options.seconds / 2)
    with served(seeds, options.products) as shop:
        found = compare(shop, list(read_photos(SHOWROOM).requests), load, options.turns)
    print(json.dumps(found), flush=True)
    return 0 if found["kept"] else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.catalog_churn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=100.0, help="products a second with ready embeddings")
    parser.add_argument("--images-rate", type=float, default=5.0, help="products a second with an image to embed")
    parser.add_argument("--photos", type=float, default=2.0, help="searches a second")
    parser.add_argument("--turns", type=int, default=3, help="turns of each kind")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a turn")
    parser.add_argument("--products", type=int, default=10_000, help="products of the catalog")
    parser.add_argument("--catalog", type=Path, help="whose vectors are copied (default: the demo's)")
    parser.add_argument("--images", type=Path, default=ROOT / "examples" / "showroom", help="to what its links lead")
    return parser.parse_args(arguments)


def compare(shop: Shop, requests: list[bytes], load: Load, turns: int, warm_up_s: float = WARM_UP_S) -> dict[str, Any]:
    """Plays the turns and prints what they showed; `kept` says whether all bounds hold."""
    churn = Churn(shop.seeds, asyncio.run(embedder_of(shop)), shop.products)
    with Generator(shop.target, requests, deadline_s=DEADLINE_S) as generator:
        generator.closed_loop(callers=2, seconds=warm_up_s, requests=len(requests))
        idle: list[Turn] = []
        busy: list[Turn] = []
        before = read_cpu(shop.pid, generator.pid)
        for _ in range(turns):
            for name, played in (("idle", idle), ("churn", busy)):
                played.append(play(shop, churn, generator, len(requests), load, writes=played is busy))
                say(f"{name:5} {of_turn(played[-1])}")
        machine = quiet(before, read_cpu(shop.pid, generator.pid))
    held = bounds(idle, busy, merging=load.rate * load.seconds > LATEST * DEAD_AT)
    for bound in held:
        say(f"{'pass ' if bound.kept else 'FAIL '} bound {bound}")
    searches = compared(idle, busy)
    for name, figures in searches.items():
        say(f"{name:6} {figures}")
    for error in problems(busy):
        say(f"error {error}")
    return {
        "products": shop.products,
        "workers": 1,
        "idle": [of_turn(turn) for turn in idle],
        "churn": [of_turn(turn) for turn in busy],
        "searches": searches,
        "bounds": {bound.name: finite(bound.measured) for bound in held},
        "machine": machine,
        "kept": all(bound.kept for bound in held),
    }


async def embedder_of(shop: Shop) -> str:
    """The identity of the embedder that ready embeddings must name."""
    async with AsyncCatalogClient(shop.catalog_target) as client:
        return (await client.catalog(NAME)).embedder


def problems(turns: Sequence[Turn], most: int = 5) -> list[str]:
    """The first errors of writes and checks, each text once."""
    texts = [text for turn in turns for part in (turn.ready.errors, turn.pictured.errors) for text in part]
    texts += [text for turn in turns for text in turn.finding.unanswered]
    return list(dict.fromkeys(texts))[:most]


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
