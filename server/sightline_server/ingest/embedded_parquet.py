"""Parquet of products with ready embeddings -> records, and what is ready in each.

Rule: the columns `embedder` (a text) and `embeddings` (a list of lists of numbers) are read as arrays; all others are
those of any Parquet feed.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sightline_server.ingest.feeds.columns import canonical_names, column_name
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.parquet import column_values, guarded_record, require_columns
from sightline_server.ingest.feeds.parquet_sizes import checked_metadata, text_columns
from sightline_server.ingest.feeds.records import Record, refused
from sightline_server.ingest.feeds.source import OpenFeed

EMBEDDINGS, EMBEDDER = "embeddings", "embedder"
BATCH_ROWS = 64

Ready: TypeAlias = dict[str, object]
"""The embedder and the embeddings of one row, by their names."""


def parquet_records(feed: OpenFeed, options: FeedOptions) -> Iterator[tuple[Record, Ready]]:
    """The rows of a Parquet file. Raises `SightlineError` where it cannot be read or has no embeddings."""
    metadata = checked_metadata(feed.file, feed.name, options.limits)
    texts = text_columns(metadata)
    with pq.ParquetFile(feed.file, metadata=metadata, read_dictionary=texts, page_checksum_verification=True) as table:
        found = table.schema_arrow.names
        for name in (EMBEDDER, EMBEDDINGS):
            if found.count(name) != 1:
                raise refused(f"{feed.name} has no column {name}; it holds no products with ready embeddings")
        plain = [name for name in found if name not in (EMBEDDER, EMBEDDINGS)]
        names = canonical_names([column_name(name) for name in plain])
        require_columns(feed.name, names)
        number = 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            columns = [column_values(batch.column(found.index(name))) for name in plain]
            embedders, vectors = column_values(batch[EMBEDDER]), batch[EMBEDDINGS]
            for row, values in enumerate(zip(*columns, strict=True)):
                number += 1
                ready: Ready = {EMBEDDER: embedders[row], EMBEDDINGS: matrix(vectors.slice(row, 1))}
                yield guarded_record(number, names, values), ready


def matrix(row: pa.Array) -> NDArray[np.float64] | None:
    """The embeddings float64 [N,D] of an array with one row; None where it is not N lists of equally many numbers."""
    if not is_any_list(row.type) or not is_any_list(row.type.value_type) or row.null_count:
        return None
    vectors = row.flatten()
    numbers = vectors.flatten()
    lengths = vectors.value_lengths().to_numpy(zero_copy_only=False) if not fixed(vectors) else []
    numeric = pa.types.is_floating(numbers.type) or pa.types.is_integer(numbers.type)
    if not len(vectors) or not numeric or numbers.null_count or vectors.null_count or len(set(lengths)) > 1:
        return None
    found: NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(vectors), -1)
    return found


def fixed(array: pa.Array) -> bool:
    """Returns whether each list of `array` has the same length by its type."""
    return bool(pa.types.is_fixed_size_list(array.type))


def is_any_list(kind: pa.DataType) -> bool:
    """Returns whether `kind` is one of the list types."""
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))
