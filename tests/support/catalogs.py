"""Small catalogs and feeds for tests: an embedder of a few numbers, products by the dozen, images of one colour."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.schema import CatalogFacts, CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.stages.decode import DecodeLimits

DIMENSION = 8
SPEC = EmbedderSpec("tiny", "1", 4, 4, DIMENSION, sha256="ab" * 32)
LIMITS = DecodeLimits(1 << 20, 1 << 20, 64)
BUILT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def unit_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Random vectors float32 [count,dimension] of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def row(product_id: str, vectors: NDArray[np.float32], **fields: Any) -> CatalogRow:
    """A catalog row with one image per vector."""
    images = tuple(f"{product_id}-{number}.jpg" for number in range(len(vectors)))
    return CatalogRow(Product(product_id, **fields), None, images, vectors)


def write_catalog(
    out: Path, rows: Iterable[CatalogRow], spec: EmbedderSpec = SPEC, *, replace: bool = False
) -> CatalogFacts:
    """Builds and publishes a catalog of `rows`."""
    with CatalogWriter(out, spec, replace=replace) as writer:
        writer.add(list(rows))
        return writer.publish(BUILT)


def write_picture(path: Path, shade: int) -> None:
    """A small image of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (shade, shade, shade)).save(path)


def write_feed(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """A CSV feed with every column that a row has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


async def shade_embed(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Stands for the embedder where the engine is not the subject: another direction for another shade."""
    angles = np.array([float(crop.mean()) / 255.0 * np.pi / 2 for crop in crops], np.float32)
    vectors = np.zeros((len(crops), DIMENSION), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    return vectors
