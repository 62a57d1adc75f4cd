"""The outcome of a block as Parquet: a row for each image, with its embedding or with the reason why it has none.

Rule: no link and no text of a product is in it: links may hold secrets, and the feed has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.schema import CatalogFacts

SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("embedding", pa.list_(pa.float16())),
        pa.field("content", pa.binary(16)),
        pa.field("error", pa.string()),
    ]
)
"""`embedding` has those of all views of an image, one behind the other. `key` is that of the link in `SeenImages`,
`content` that of the image in `SameImages`."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedImage:
    """An image by its key: its `embeddings` float16 [N,D], one for each view, and the key of its `content`, or the
    `error`."""

    key: bytes
    embeddings: NDArray[np.float16] | None = None
    content: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The images of one file, and the embedder that made their embeddings."""

    embedder: EmbedderSpec
    images: tuple[EmbeddedImage, ...]


def encode(part: Part) -> bytes:
    """The part as a Parquet file."""
    columns = [
        pa.array([image.key for image in part.images], pa.binary(16)),
        pa.array([numbers_of(image) for image in part.images], pa.list_(pa.float16())),
        pa.array([image.content or None for image in part.images], pa.binary(16)),
        pa.array([image.error or None for image in part.images], pa.string()),
    ]
    facts = CatalogFacts(part.embedder, 0, 0, 0, "", "")
    table = pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata(facts.metadata()))
    file = BytesIO()
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)
    return file.getvalue()


def decode(content: bytes) -> Part:
    """The part that `encode` made a file of.

    Raises `ValueError` for other bytes, and `SightlineError` of kind CONFIGURATION for a file without an embedder.
    """
    table = pq.read_table(BytesIO(content), page_checksum_verification=True)
    if table.schema.remove_metadata() != SCHEMA:
        raise ValueError("the columns are not those of embedded images")
    embedder = CatalogFacts.parse(table.schema.metadata).embedder
    lists = table["embedding"].combine_chunks()
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    numbers = lists.flatten().to_numpy(zero_copy_only=False)
    counts, rests = np.divmod(lists.value_lengths().drop_null().to_numpy(zero_copy_only=False), embedder.dimension)
    if rests.any() or not counts.all():
        raise ValueError("the embeddings are not of the embedder's dimension")
    vectors = iter(np.split(numbers.reshape(-1, embedder.dimension), np.cumsum(counts)[:-1]))
    plain = zip(*(column_texts(table[name]) for name in ("key", "content", "error")), strict=True)
    images = [
        EmbeddedImage(key, next(vectors) if has else None, same or b"", error or "")
        for (key, same, error), has in zip(plain, present, strict=True)
    ]
    return Part(embedder, tuple(images))


def numbers_of(image: EmbeddedImage) -> NDArray[np.float16] | None:
    """The embeddings of an image behind each other, float16 [N*D]; None where it has none."""
    return None if image.embeddings is None else image.embeddings.reshape(-1)


def column_texts(column: pa.ChunkedArray) -> Sequence[Any]:
    """The values of a column."""
    return cast("Sequence[Any]", column.to_pylist())
