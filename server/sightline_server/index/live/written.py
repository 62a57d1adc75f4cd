"""Operations of the log -> the values that a search needs of them.

Rule: everything that can fail on a row is done here, before anything is changed. Vectors become what a new base would
make of them, so that a product has the same similarity before and after a merge.
"""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.operations import Operation, OpKind
from sightline_server.domain.items import Product
from sightline_server.index.adapter import Adapter
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS

LIGHT = (*DISPLAY_COLUMNS, *PRICE_COLUMNS)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """An operation: `product` is None for a delete, `light` has `LIGHT` of one product, `vectors` is float32."""

    seq: int
    kind: OpKind
    id: str
    product: Product | None
    light: pa.RecordBatch | None
    links: tuple[str, ...]
    vectors: NDArray[np.float32]


def written(operation: Operation, dimension: int, adapter: Adapter | None = None) -> Written:
    """The values of one operation; its vectors are as `adapter` makes them, where it is given."""
    row = operation.row
    if row is None:
        return Written(
            operation.seq, operation.kind, operation.id, None, None, (), np.empty((0, dimension), np.float32)
        )
    links: tuple[str, ...] = ()
    vectors = np.empty((0, dimension), np.float32)
    if operation.kind is OpKind.UPSERT:
        links = tuple(row["images"].flatten().to_pylist())
        vectors = index_vectors(row["embeddings"], dimension, adapter)
    light = row.select(list(LIGHT))
    return Written(operation.seq, operation.kind, operation.id, product_of(light), light, links, vectors)


def product_of(light: pa.RecordBatch) -> Product:
    """The product of one row of `LIGHT`."""
    # By position: finding a column by its name takes longer than reading it.
    texts = {name: light.column(place)[0].as_py() or "" for place, name in enumerate(DISPLAY_COLUMNS)}
    attributes = json.loads(texts.pop("attributes") or "{}")
    return Product(**texts, attributes=attributes)


def index_vectors(column: pa.Array, dimension: int, adapter: Adapter | None) -> NDArray[np.float32]:
    """The embeddings of one row as an index holds them, float32: adapted, or normalised again after their rounding."""
    stored = column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    if adapter is not None:
        return adapter.of_images(stored)
    vectors: NDArray[np.float32] = stored.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
