"""The contents of a catalog: its columns, and the facts in its schema metadata.

Rule: one row is one product; `images[i]` is the link of the image that `embeddings[i]` was made from. An image with two
views has two embeddings, one behind the other. The facts commit together with the rows, so that no reader can see
vectors and take them for those of another embedder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.catalog_rows import CatalogRow as CatalogRow
from sightline_server.domain.catalog_rows import Price as Price
from sightline_server.domain.image_views import ONE_VIEW, TWO_VIEWS, VIEWS_FACT
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.preprocess import EMBEDDER_PREPROCESS, parse_preprocess
from sightline_server.errors import ErrorKind, SightlineError

FORMAT = 1
"""Raised when a reader of the previous number could no longer read what is written."""

FACTS_KEY = b"sightline"
PREPROCESS_KEY = b"sightline.preprocess"
VIEWS_KEY = VIEWS_FACT.encode()
EXECUTED = b"executed"
"""In the metadata of catalogs whose images were prepared as the embedder's `preprocess` says; catalogs without it are
older, and their images were always squashed."""
PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}

MAX_IMAGES = 20
"""Images of one product, and vectors where images have two views. With it 100 products are certain among 2,048 vectors,
the most that a GPU index returns."""

TEXT_COLUMNS = (
    *("title", "brand", "category", "price", "availability", "link", "image_link", "item_group_id", "gtin"),
    "attributes",
)
DISPLAY_COLUMNS = ("id", *TEXT_COLUMNS)
PRICE_COLUMNS = ("price_amount", "price_currency")
PLAIN_FACTS = ("format", "products", "vectors", "max_images", "content_sha256", "built_at")
EMBEDDER_FACTS = ("name", "version", "height", "width", "dimension", "sha256")
NO_COUNTS = {"products": 0, "vectors": 0, "max_images": 0, "content_sha256": "", "built_at": ""}
"""Counted facts of a catalog where only its embedder is asked for."""
TEXT = pa.string()
PRICE_TYPE = pa.decimal128(18, 4)
IMAGES_TYPE = pa.list_(pa.field("item", pa.string(), nullable=False))


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """The facts of a catalog. `built_at` is an ISO 8601 time, `content_sha256` covers every column."""

    embedder: EmbedderSpec
    products: int
    vectors: int
    max_images: int
    content_sha256: str
    built_at: str
    format: int = FORMAT
    views: int = ONE_VIEW
    """Views of each image, see `domain.image_views`. Stored where there are two only: earlier versions read the rows
    of either."""

    def metadata(self) -> dict[bytes, bytes]:
        """The facts as schema metadata."""
        spec = self.embedder
        embedder = {name: getattr(spec, name) for name in EMBEDDER_FACTS} | {"preprocess": spec.preprocess.facts()}
        facts = {name: getattr(self, name) for name in PLAIN_FACTS} | {"embedder": embedder}
        views = {} if self.views == ONE_VIEW else {VIEWS_KEY: str(self.views).encode()}
        return {FACTS_KEY: json.dumps(facts, sort_keys=True).encode(), PREPROCESS_KEY: EXECUTED, **views}

    @classmethod
    def parse(cls, metadata: Mapping[bytes, bytes] | None) -> "CatalogFacts":
        """Reads schema metadata. Raises `SightlineError` of kind CONFIGURATION when it is not ours."""
        text = (metadata or {}).get(FACTS_KEY)
        if text is None:
            raise SightlineError(ErrorKind.CONFIGURATION, "the dataset is not a Sightline catalog")
        try:
            facts = json.loads(text)
            found = facts["format"]
            if found == FORMAT:
                executed = (metadata or {}).get(PREPROCESS_KEY) == EXECUTED
                embedder = stored_embedder(facts["embedder"], executed)
                return cls(**{**facts, "embedder": embedder, "views": stored_views(metadata or {})})
        except (ValueError, KeyError, TypeError) as error:
            raise SightlineError(ErrorKind.CONFIGURATION, "the catalog's own description is damaged") from error
        message = f"the catalog has format {found}, this server reads {FORMAT}; build it again"
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def stored_views(metadata: Mapping[bytes, bytes]) -> int:
    """The views of each image of a catalog. Raises `ValueError` for a number that is not known."""
    views = int(metadata.get(VIEWS_KEY, ONE_VIEW))
    if views not in (ONE_VIEW, TWO_VIEWS):
        raise ValueError("a catalog has one or two views of each image")
    return views


def views_in(stored: Mapping[str, Any]) -> int:
    """As `stored_views`, of the facts of a catalog with a log."""
    return stored_views({VIEWS_KEY: stored[VIEWS_FACT].encode()} if VIEWS_FACT in stored else {})


def living_facts(stored: Mapping[str, str], counted: Mapping[str, Any]) -> CatalogFacts:
    """The facts of a catalog with a log: `stored` is the metadata it was made with, `counted` what its rows are now.

    Raises `SightlineError` of kind CONFIGURATION as `CatalogFacts.parse`.
    """
    metadata = {key.encode(): text.encode() for key, text in stored.items()}
    facts = json.dumps({**json.loads(stored[FACTS_KEY.decode()]), **counted})
    return CatalogFacts.parse({**metadata, FACTS_KEY: facts.encode()})


def stored_embedder(facts: dict[str, Any], executed: bool) -> EmbedderSpec:
    """The embedder of a catalog's facts. Without `executed`, its images were squashed whatever the facts say."""
    stated = facts.pop("preprocess", {}) if executed else {}
    facts.pop("preprocess", None)
    spec = EmbedderSpec(**facts)
    how = parse_preprocess("of the catalog", stated, spec.width, spec.height, EMBEDDER_PREPROCESS)
    return replace(spec, preprocess=how)


@cache
def catalog_schema(dimension: int) -> pa.Schema:
    """The columns of a catalog with embeddings of `dimension` numbers. Made once: each write asks for it."""
    vectors = pa.list_(pa.field("item", pa.list_(pa.float16(), dimension), nullable=False))
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
            *(pa.field(name, pa.string()) for name in TEXT_COLUMNS),
            pa.field("price_amount", PRICE_TYPE),
            pa.field("price_currency", pa.string()),
            pa.field("images", IMAGES_TYPE, nullable=False),
            pa.field("embeddings", vectors, nullable=False),
        ]
    )


def to_table(rows: Sequence[CatalogRow], dimension: int) -> pa.Table:
    """The rows as a table of `catalog_schema`; an empty text is stored as null."""
    return pa.Table.from_batches([to_batch(rows, dimension)])


def to_batch(rows: Sequence[CatalogRow], dimension: int) -> pa.RecordBatch:
    """As `to_table`, in one piece."""
    schema = catalog_schema(dimension)
    products, prices = [row.product for row in rows], [row.price for row in rows]
    columns = [pa.array([product.id for product in products], TEXT)]
    columns += [pa.array([getattr(product, name) or None for product in products], TEXT) for name in TEXT_COLUMNS[:-1]]
    attributes = [json.dumps(dict(p.attributes), ensure_ascii=False) if p.attributes else None for p in products]
    columns.append(pa.array(attributes, TEXT))
    columns.append(pa.array([price and price.amount for price in prices], PRICE_TYPE))
    columns.append(pa.array([price and price.currency for price in prices], TEXT))
    columns.append(pa.array([list(row.images) for row in rows], IMAGES_TYPE))
    columns.append(embeddings_column([row.embeddings for row in rows], schema.field("embeddings").type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def embeddings_column(embeddings: Sequence[NDArray[np.float32]], column_type: pa.DataType) -> pa.Array:
    """Float32 [images,D] of each product as one column of float16 lists."""
    offsets = np.zeros(len(embeddings) + 1, np.int32)
    np.cumsum([len(vectors) for vectors in embeddings], out=offsets[1:])
    flat = np.concatenate(embeddings).astype(np.float16).reshape(-1)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=column_type.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), vectors, type=column_type)
