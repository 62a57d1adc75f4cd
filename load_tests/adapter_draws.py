"""The adapters that `sightline adapt --labels` keeps, over many draws of labelled photos, and what they bring.

    python -m load_tests.adapter_draws --catalog DIR --queries CSV [--draws 20] [--each 1,2,3]

CSV has the columns image and product_id, with several photos a product, and DIR is the catalog of those products. All
photos are embedded once, by the steps of a search. Each draw takes some photos of each product as labelled, decides as
the command does, and measures hit@1 and hit@5 on all photos that were not drawn. It is repeated with photos of half of
the products, whose others must lose nothing, and with the products of the labels exchanged, which must be refused.
Progress is on standard error. Prints one JSON object on the last line. Exit code 1 when a draw of all products is
refused, when more than one of twenty draws with exchanged labels is kept, or when products without photos lose.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.cli.adapt import embed_with_engine, shop_photos
from sightline_server.cli.loading import load
from sightline_server.index.adapter import Adapter
from sightline_server.index.catalog import open_catalog
from sightline_server.index.opened_catalog import Catalog
from sightline_server.ingest.adapting.choosing import choose
from sightline_server.ingest.adapting.fitting import ShopPhotos
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.labels import labelled_photos
from sightline_server.ingest.adapting.nearness import nearest_products

KINDS = ("all", "half", "exchanged")
MOST_EXCHANGED = 0.05
"""Share of draws with exchanged labels that may be kept."""
FIRST = 5

Places = NDArray[np.intp]


@dataclass(slots=True)
class Figures:
    """The draws of one kind: what was kept, and hit@1 and hit@5 of other photos, before and after."""

    kept: list[str] = field(default_factory=list)
    others: list[list[float]] = field(default_factory=list)
    unshown: list[list[float]] = field(default_factory=list)
    """The same of photos of products that no drawn photo shows."""

    def shown(self) -> dict[str, Any]:
        """The figures by name."""
        names = ("hit@1 before", "hit@5 before", "hit@1 after", "hit@5 after")
        found: dict[str, Any] = {"draws": len(self.kept), "kept": dict(Counter(self.kept))}
        for name, rows in (("others", self.others), ("unshown", self.unshown)):
            if rows:
                means = np.mean(rows, axis=0)
                found[name] = dict(zip(names, (round(float(each), 4) for each in means), strict=True))
        return found

    @property
    def refused(self) -> int:
        """Draws for which nothing was kept."""
        return self.kept.count("nothing")


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--each", default="1,2,3", help="labelled photos of a product, such as 1,2,3")
    arguments = parser.parse_args()
    catalog = open_catalog(arguments.catalog)
    photos = embedded(catalog, arguments.queries)
    images = ShopImages(catalog.vectors, catalog.owners)
    report: dict[str, Any] = {}
    failed = False
    for each in map(int, arguments.each.split(",")):
        figures = {kind: Figures() for kind in KINDS}
        for draw in range(arguments.draws):
            for kind, drawn, others in draws(photos, each, draw):
                decide(figures[kind], photos, images, drawn, others)
            print(f"{each} labelled a product, draw {draw + 1} of {arguments.draws}", file=sys.stderr)
        report[f"{each} labelled"] = {kind: found.shown() for kind, found in figures.items()}
        failed = failed or fails(figures)
    print(json.dumps(report))
    return int(failed)


def embedded(catalog: Catalog, queries: Path) -> ShopPhotos:
    """The photos of the table `queries`, embedded by the engine of the settings."""
    rows = {product: row for row, product in enumerate(catalog.display["id"].to_pylist())}
    asked = labelled_photos(queries, rows)
    work = embed_with_engine(load(None), catalog.facts.embedder, asked, detect=False, describe=frozenset())
    return shop_photos(asked, asyncio.run(work)[0])


def draws(photos: ShopPhotos, each: int, draw: int) -> Iterator[tuple[str, ShopPhotos, Places]]:
    """The labelled photos of each kind, `each` of a product, and the positions of all photos that were not drawn."""
    assert photos.products is not None
    chance = np.random.default_rng(draw)
    order = chance.permutation(len(photos))
    order = order[np.argsort(photos.products[order], kind="stable")]
    number = np.arange(len(order)) - np.searchsorted(photos.products[order], photos.products[order])
    drawn, others = order[number < each], order[number >= each]
    products = np.unique(photos.products)
    yield "all", photos.take(drawn), others
    half = chance.permutation(products)[: len(products) // 2 + 1]
    yield "half", photos.take(drawn[np.isin(photos.products[drawn], half)]), others
    exchanged = chance.permutation(products)[np.searchsorted(products, photos.products[drawn])]
    yield "exchanged", ShopPhotos(photos.embeddings[drawn], exchanged.astype(np.int32)), others


def decide(figures: Figures, photos: ShopPhotos, images: ShopImages, drawn: ShopPhotos, others: Places) -> None:
    """Counts what is kept from `drawn`, and what it brings to the photos at `others`."""
    assert photos.products is not None
    assert drawn.products is not None
    choice = choose(drawn, images, about={}, tick=lambda: None)
    figures.kept.append("nothing" if choice.chosen is None else choice.chosen.method.value)
    figures.others.append(hits(photos.take(others), images, choice.adapter))
    unshown = others[~np.isin(photos.products[others], drawn.products)]
    if len(unshown):
        figures.unshown.append(hits(photos.take(unshown), images, choice.adapter))


def hits(photos: ShopPhotos, images: ShopImages, adapter: Adapter | None) -> list[float]:
    """hit@1 and hit@5 of `photos` without an adapter and with it."""
    assert photos.products is not None
    found: list[float] = []
    for way in (None, adapter):
        right = nearest_products(photos.embeddings, images, FIRST, way).products == photos.products[:, np.newaxis]
        found += [float(right[:, 0].mean()), float(right.any(axis=1).mean())]
    return found


def fails(figures: dict[str, Figures]) -> bool:
    """True if true labels of all products are refused, exchanged ones kept, or products without photos lose."""
    exchanged = figures["exchanged"]
    kept: Sequence[str] = exchanged.kept
    if figures["all"].refused or len(kept) - exchanged.refused > max(1.0, MOST_EXCHANGED * len(kept)):
        return True
    unshown = np.mean(figures["half"].unshown, axis=0)
    return bool(unshown[2] < unshown[0] or unshown[3] < unshown[1])


if __name__ == "__main__":
    sys.exit(main())
