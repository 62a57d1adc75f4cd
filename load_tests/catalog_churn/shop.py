"""The catalog that is written while it is searched, and the server that does both.

    a catalog with its images -> seeds (image, vector) -> a catalog of copies of them with some noise -> server
Rule: vectors are near those of real images, so that a search with a seed's image has a reason to return its copies.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline_client.local_server import LocalServer
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.catalog import open_catalog
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter

CHUNK = 4096
NOISE = 0.3
"""Length of the step from a seed to one of its copies; their cosine is then about 0.96."""
NAME = "default"
"""The name of the catalog."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One encoded image, and its vector, float32 [D] of length 1."""

    image: bytes = field(repr=False)
    vector: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seeds:
    """The images of a catalog, and the embedder that made their vectors."""

    all: tuple[Seed, ...]
    embedder: EmbedderSpec

    def copy(self, number: int, version: int = 0) -> NDArray[np.float32]:
        """The vector of copy `number` in its `version`, of length 1."""
        seed = self.of(number).vector
        step = np.random.default_rng((number, version)).standard_normal(len(seed)).astype(np.float32)
        vector: NDArray[np.float32] = seed + NOISE * step / np.linalg.norm(step)
        return vector / np.float32(np.linalg.norm(vector))

    def of(self, number: int) -> Seed:
        """The seed of copy `number`."""
        return self.all[number % len(self.all)]


def read_seeds(catalog: Path, images: Path) -> Seeds:
    """The images of `catalog`, whose links are relative to `images`. Raises `OSError` for one that is not there."""
    opened = open_catalog(catalog)
    vectors = opened.vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    links = opened.image_links.to_pylist()
    seeds = tuple(Seed((images / link).read_bytes(), vector) for link, vector in zip(links, vectors, strict=True))
    return Seeds(seeds, opened.facts.embedder)


def name_of(number: int) -> str:
    """The id of product `number`."""
    return f"copy-{number:07d}"


def write_shop(out: Path, seeds: Seeds, products: int) -> None:
    """Builds the catalog `out` of `products` copies with one image each."""
    with CatalogWriter(out, seeds.embedder, replace=False) as writer:
        for first in range(0, products, CHUNK):
            writer.add(
                [
                    CatalogRow(Product(name_of(number), title="built"), None, ("",), seeds.copy(number)[None])
                    for number in range(first, min(products, first + CHUNK))
                ]
            )
        writer.publish(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Shop:
    """A served catalog of `products` copies of `seeds`. `folder` is on the disk, `feeds` is what it may import."""

    seeds: Seeds
    products: int
    folder: Path
    feeds: Path
    target: str
    catalog_target: str
    metrics_url: str
    pid: int
    log: Path


@contextmanager
def served(seeds: Seeds, products: int, variables: Mapping[str, str] | None = None) -> Iterator[Shop]:
    """A server that searches and writes a catalog of `products`; `variables` are added to its environment."""
    with tempfile.TemporaryDirectory(prefix="sightline-churn-") as name:
        work = Path(name)
        folder, feeds, log, socket = work / "shop", work / "feeds", work / "server.log", work / "catalog.socket"
        feeds.mkdir()
        write_shop(folder, seeds, products)
        environment = {**(variables or {}), "SIGHTLINE_TRANSFER__IMPORT_FOLDER": str(feeds)}
        arguments = ["--catalog-listen", f"unix:{socket}"]
        with LocalServer(catalog=folder, extra_args=arguments, env=environment, log=log) as server:
            yield Shop(
                *(seeds, products, folder, feeds, server.target, f"unix:{socket}", server.metrics_url, server.pid, log)
            )
