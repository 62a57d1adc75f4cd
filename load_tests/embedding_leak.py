"""Measures what an embedding alone reveals about the photo that it was made of, with the real models.

    python -m load_tests.embedding_leak --catalog DIR [--queries FILE]

Each query is a photo, the box of an object in it and the product that it shows. Only the embedding of the box is kept,
as `SearchEmbeddings` gets it. An attacker who has it searches for the nearest images of the catalog: how often is the
product one of them, and the kind? How often is the nearest embedding of another photo one of the same product, so that
two people's photos can be linked without any catalog? The same with less of each number: in half precision, and only
one bit. DIR is the showroom's catalog, FILE its queries. Prints one JSON object on the last line.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.generator.photos import ROOT
from sightline_client.events import Box as ClientBox
from sightline_client.queries import Query, read_queries
from sightline_models.places import default_repository
from sightline_server.domain.geometry import Box
from sightline_server.domain.models import EMBEDDER
from sightline_server.index.catalog import open_catalog
from sightline_server.index.opened_catalog import Catalog
from sightline_server.ports import Engine
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from tests.support.engine import embedded_engine, sightline_home

Vectors = NDArray[np.float32]
LIMITS = DecodeLimits(20 << 20, 64_000_000, 1280)
DEADLINE_S = 60.0
DEPTH = 10
QUERIES = ROOT / "examples/showroom/queries.csv"
LESS: Mapping[str, Callable[[Vectors], Vectors]] = {
    "float32": lambda vectors: vectors,
    "float16": lambda vectors: vectors.astype(np.float16).astype(np.float32),
    "signs of deviations": lambda vectors: np.sign(vectors - vectors.mean(axis=0)).astype(np.float32),
}
"""The parts that are kept of vectors float32 [N,D] of length 1."""


async def measured(folder: Path, queries: Sequence[Query]) -> dict[str, Any]:
    """The figures for a catalog and queries whose products it has."""
    engine = embedded_engine(default_repository(sightline_home()))
    await engine.start()
    try:
        catalog = open_catalog(folder, engine.embedders)
        sent = np.stack([await embedding(engine, query) for query in queries])
    finally:
        await engine.stop()
    return {"objects": len(queries), "products": catalog.facts.products} | figures(catalog, queries, sent)


async def embedding(engine: Engine, query: Query) -> Vectors:
    """The embedding float32 [D] of the query's object."""
    part = query.box or ClientBox.whole()
    box = Box(part.x_min, part.y_min, part.x_max, part.y_max)
    pixels = crop(decode(query.image.read_bytes(), LIMITS), box, engine.spec(EMBEDDER)).pixels
    answer = await engine.runner(EMBEDDER).infer({"CROPS": [pixels]}, deadline=time.monotonic() + DEADLINE_S)
    vector: Vectors = answer["EMBEDDINGS"][0]
    return vector


def figures(catalog: Catalog, queries: Sequence[Query], sent: Vectors) -> dict[str, Any]:
    """The shares of the embeddings `sent` [N,D] that give their product away, and their kind of product."""
    ids, kinds = (catalog.display[name].to_pylist() for name in ("id", "category"))
    kind_of = dict(zip(ids, kinds, strict=True))
    owners = [ids[row] for row in catalog.owners]
    stored = catalog.vectors.astype(np.float32)
    wanted = [query.product_id for query in queries]
    found: dict[str, Any] = {}
    for name, keep in LESS.items():
        nearest = ranked(keep(sent), keep(stored), owners)
        found[name] = {
            "product@1": share(first[0] == product for first, product in zip(nearest, wanted, strict=True)),
            f"product@{DEPTH}": share(product in first for first, product in zip(nearest, wanted, strict=True)),
            "kind@1": share(kind_of[first[0]] == kind_of[each] for first, each in zip(nearest, wanted, strict=True)),
            "linked@1": linked(keep(sent), wanted, [str(query.image) for query in queries]),
        }
    found["by chance"] = {"product@1": round(1 / len(ids), 4), f"product@{DEPTH}": round(DEPTH / len(ids), 4)}
    return found


def ranked(sent: Vectors, stored: Vectors, owners: Sequence[str]) -> list[list[str]]:
    """For each embedding the `DEPTH` products with the nearest images, nearest first."""
    order = np.argsort(-(sent @ stored.T), axis=1, kind="stable")
    return [list(dict.fromkeys(owners[place] for place in row))[:DEPTH] for row in order]


def linked(sent: Vectors, products: Sequence[str], photos: Sequence[str]) -> float:
    """Share of the embeddings whose nearest one of another photo shows the same product, where there is one."""
    similar = sent @ sent.T
    outcomes = []
    for place, product in enumerate(products):
        others = [n for n, photo in enumerate(photos) if photo != photos[place]]
        if any(products[n] == product for n in others):
            outcomes.append(products[max(others, key=lambda n: float(similar[place, n]))] == product)
    return share(outcomes)


def share(outcomes: Any) -> float:
    """The share of true ones; 0 where there are none."""
    known = list(outcomes)
    return round(sum(known) / len(known), 4) if known else 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="the showroom's catalog")
    parser.add_argument("--queries", type=Path, default=QUERIES, help="a file as for sightline eval")
    args = parser.parse_args(argv)
    queries = read_queries(args.queries)
    print(f"embedding {len(queries)} objects", file=sys.stderr)
    print(json.dumps(asyncio.run(measured(args.catalog, queries))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
