"""Searches of both catalogs in turn, with and without filters: how long, how many of the nearest, and no other product.

Rule: one caller, and each query goes to the one catalog and then to the other, so that both meet the same machine.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.catalog_scale.shop import SHARES, matches, number_of, unit
from load_tests.milvus_scale.shops import FOLDER, REMOTE
from sightline_client import Answer, Client, Filter
from sightline_server.index.catalog import open_catalog
from sightline_server.index.probes import SAME, nearest_vectors

ALL = "none"
WAYS = (ALL, *SHARES)
K = 10
STEP = 0.6
"""Length of the step from a product's vector to a query; their cosine is then about 0.86."""
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Queries:
    """Vectors to search, and the similarities of the `K` nearest products under each filter."""

    vectors: NDArray[np.float32] = field(repr=False)
    """float32 [Q,D] of length 1."""
    nearest: Mapping[str, NDArray[np.float32]] = field(repr=False)
    """Name of a filter -> float32 [Q,K], most similar first; fewer columns where fewer products match."""
    products: int


@dataclass(slots=True)
class Measured:
    """The searches of one kind: what was searched, in which catalog, under which filter."""

    kind: str
    catalog: str
    filter: str
    seconds: list[float] = field(default_factory=list)
    first_s: float = 0.0
    """Of the first search, in which the server meets the filter."""
    violations: int = 0
    """Products that the filter excludes."""
    right: int = 0
    wanted: int = 0

    @property
    def recall(self) -> float:
        """The share of the nearest products that was found, 0..1; 1 where it was not measured."""
        return self.right / self.wanted if self.wanted else 1.0

    def row(self) -> dict[str, Any]:
        """The figures."""
        return {
            "kind": self.kind,
            "catalog": self.catalog,
            "filter": self.filter,
            "searches": len(self.seconds),
            "first_ms": round(1e3 * self.first_s, 1),
            **{f"p{rank}_ms": round(1e3 * float(np.percentile(self.seconds, rank)), 1) for rank in (50, 99)},
            "recall": round(self.recall, 4) if self.wanted else None,
            "violations": self.violations,
        }


def drawn(folder: Path, count: int) -> Queries:
    """`count` queries near products of the catalog at `folder`, and what an exact comparison finds for them."""
    catalog = open_catalog(folder)
    vectors = catalog.vectors.astype(np.float32)
    random = np.random.default_rng(2)
    steps = random.standard_normal((count, vectors.shape[1]), np.float32) / np.float32(np.sqrt(vectors.shape[1]))
    queries = unit(unit(vectors[random.integers(0, len(vectors), count)]) + np.float32(STEP) * steps)
    owners = np.array([number_of(name) for name in catalog.display["id"].to_pylist()])[catalog.owners]
    nearest: dict[str, NDArray[np.float32]] = {}
    for name in WAYS:
        part = vectors if name == ALL else vectors[matches(name, len(vectors))[owners]]
        nearest[name] = nearest_vectors(queries, part, K).similarities
    return Queries(queries, nearest, len(catalog.display))


def filter_of(name: str) -> Filter | None:
    """The filter of `catalog_scale.shop` as a client sends it; None where nothing is filtered."""
    return None if name == ALL else Filter(attributes={f"one_of_{SHARES[name]}": ["0"]})


def by_embedding(client: Client, embedder: str, queries: Queries) -> Iterator[Measured]:
    """Searches each query as an embedding."""
    for name in WAYS:
        wanted = filter_of(name)
        both = {catalog: Measured("embedding", catalog, name) for catalog in (FOLDER, REMOTE)}
        for place, vector in enumerate(queries.vectors):
            for catalog, measured in both.items():
                began = time.monotonic()
                answer = client.find_embeddings(
                    [vector.tobytes()],
                    embedder=embedder,
                    catalog=catalog,
                    max_products=K,
                    filter=wanted,
                    timeout_s=TIMEOUT_S,
                )
                note(measured, time.monotonic() - began, answer, queries.products)
                compare(measured, answer, queries.nearest[name][place])
        yield from both.values()


def by_photo(client: Client, photos: Sequence[bytes], products: int, repeats: int) -> Iterator[Measured]:
    """Searches each photo `repeats` times, without a filter and with that of 5 %."""
    for name in (ALL, "5%"):
        wanted = filter_of(name)
        both = {catalog: Measured("photo", catalog, name) for catalog in (FOLDER, REMOTE)}
        for photo in [*photos] * repeats:
            for catalog, measured in both.items():
                began = time.monotonic()
                answer = client.find(photo, catalog=catalog, max_products=K, filter=wanted, timeout_s=TIMEOUT_S)
                note(measured, time.monotonic() - began, answer, products)
        yield from both.values()


def note(measured: Measured, seconds: float, answer: Answer, products: int) -> None:
    """Adds an answer's time and the products that the filter excludes."""
    if not measured.seconds:
        measured.first_s = seconds
    measured.seconds.append(seconds)
    if measured.filter != ALL:
        allowed = matches(measured.filter, products)
        measured.violations += sum(
            not allowed[number_of(each.product.id)] for found in answer.objects for each in found.products
        )


def compare(measured: Measured, answer: Answer, nearest: NDArray[np.float32]) -> None:
    """Counts how many of the nearest products an answer to one embedding has: by similarity, so that ties count."""
    [found] = answer.objects
    similarities = [each.similarity for each in found.products[: len(nearest)]]
    measured.right += sum(similarity >= float(nearest[-1]) - SAME for similarity in similarities)
    measured.wanted += len(nearest)
