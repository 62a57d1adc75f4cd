"""Another embedder for a catalog: what has to be embedded, and the generation that is prepared of it.

    Reembedding(path, embedder)   reads the catalog, without its lock
      .products()                 products to embed, with the links of their images
      .prepare(store, embedded)   their embeddings -> a revision of a new generation, next to the current one
    store.rollback(revision)      makes it the current one: `ActivateRevision`, `sightline catalog rollback`
Rule: what was embedded by the same embedder before, in an earlier generation or in a preparation that was not
activated, is reused as long as its images are the same. So another run embeds only what is missing, and the way back to
an earlier embedder is a run as well, which loses no write.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.log import read_recorded
from sightline_server.catalog.operations import KEY, Layout
from sightline_server.catalog.preparing import PreparedRows
from sightline_server.catalog.reembedding import Plan, read_plan
from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec, embedder_mismatch
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adopting import HEAVY
from sightline_server.index.digest import ContentDigest
from sightline_server.index.living import row_fault
from sightline_server.index.schema import (
    IMAGES_TYPE,
    NO_COUNTS,
    CatalogFacts,
    catalog_schema,
    embeddings_column,
    living_facts,
)
from sightline_server.index.stored_rows import products_of

ROWS = 256
"""Products that are written together."""


@dataclass(frozen=True, slots=True)
class ProductToEmbed:
    """A product without embeddings of the new embedder. `images` are the links of its images, in their order."""

    product: Product
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedImages:
    """The embeddings of product `id`, float32 [len(images),D], L2-normalised.

    `images` are the links of the images that were embedded, which may be fewer than the product has; that of an image
    with two views is there twice.
    """

    id: str
    images: tuple[str, ...]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A product that the new generation does not have on purpose, because its images cannot be had."""

    id: str


class Reembedding:
    """A new generation of the catalog at `path`, for vectors of `embedder`. The catalog has a log. Blocking.

    Its images have so many `views`, or without it as many as now. Making it reads the catalog. Raises `SightlineError`
    of kind CONFIGURATION when that is damaged, or when its vectors are of `embedder` and these views already.
    """

    def __init__(self, path: Path, embedder: EmbedderSpec, views: int | None = None) -> None:
        recorded = read_recorded(path)
        facts = {number: living_facts(each.facts, NO_COUNTS) for number, each in recorded.generations.items()}
        current = facts[recorded.current.generation]
        self.views = current.views if views is None else views
        """The views of each image in the new generation."""
        self.has_views = current.views > ONE_VIEW
        """True if an image of the current generation may have two vectors, and its link is there twice then."""
        same = {number for number, each in facts.items() if self._is_same(each, embedder)}
        if recorded.current.generation in same:
            with_views = " with two views of each image" if self.views > ONE_VIEW else ""
            message = (
                f"the catalog at {path} is embedded by {embedder.identity} already{with_views}; choose another "
                "embedder, or another number of views"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        self.embedder = embedder
        self._layout = Layout(catalog_schema(embedder.dimension), HEAVY)
        self._plan: Plan = read_plan(path, same)
        self._places = {row_id: place for place, row_id in enumerate(self._plan.missing[KEY].to_pylist())}

    def _is_same(self, facts: CatalogFacts, embedder: EmbedderSpec) -> bool:
        """Returns whether a generation has the vectors that are wanted."""
        return facts.views == self.views and embedder_mismatch(facts.embedder, embedder) is None

    @property
    def content(self) -> str:
        """The name of the content that was read, as `Accepted.catalog_revision` has it."""
        return self._plan.content

    @property
    def ready(self) -> Revision | None:
        """The newest prepared revision where it has the embeddings of all products, so that no other is needed."""
        newest = self._plan.newest
        whole = not self.missing and all(each.earlier == 0 for each in self._plan.reused.values())
        return newest if newest is not None and newest.kind is RevisionKind.PREPARED and whole else None

    @property
    def missing(self) -> int:
        """The number of products to embed."""
        return len(self._plan.origins)

    @property
    def reused(self) -> int:
        """The number of products that this embedder has embedded before."""
        return len(self._plan.reused)

    def products(self) -> Iterator[ProductToEmbed]:
        """The products to embed."""
        for batch in self._plan.missing.to_batches(max_chunksize=ROWS):
            links = batch[HEAVY[0]].to_pylist()
            for product, images in zip(products_of(batch), links, strict=True):
                yield ProductToEmbed(product, tuple(images))

    def prepare(self, store: CatalogStore, embedded: Iterable[EmbeddedImages | LeftOut], note: str = "") -> Revision:
        """Makes a revision of a new generation, next to the current one; `store` may be written to meanwhile.

        `embedded` has each of `products` at most once, in any order, and is read as it comes. A product that it does
        not have, not even as `LeftOut`, keeps the revision from being activated; another run embeds what it lacks.
        Raises `SightlineError` of kind INVALID_REQUEST that names a product whose embeddings cannot be stored, as
        `CatalogStore.prepare`, and what `embedded` raises; nothing was changed then.
        """
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        empty = ContentDigest(self._layout.schema.names).hexdigest()
        metadata = CatalogFacts(self.embedder, 0, 0, 0, empty, made_at, views=self.views).metadata()
        facts = {key.decode(): text.decode() for key, text in metadata.items()}
        note = note or f"content of {self.content} embedded by {self.embedder.identity}"
        return store.prepare(self._layout, facts, self._parts(embedded), seq=self._plan.seq, note=note)

    def _parts(self, embedded: Iterable[EmbeddedImages | LeftOut]) -> Iterator[PreparedRows]:
        yield from self._plan.reused_rows(self._layout)
        left = iter(embedded)
        while some := list(islice(left, ROWS)):
            yield self._part(some)

    def _part(self, found: Sequence[EmbeddedImages | LeftOut]) -> PreparedRows:
        for each in found:
            self._check(each)
        without = [each for each in found if isinstance(each, LeftOut)]
        left_out = [(each.id, self._plan.origins[self._places[each.id]]) for each in without]
        some = [each for each in found if isinstance(each, EmbeddedImages)]
        if not some:
            return PreparedRows(pa.RecordBatch.from_pylist([], schema=self._layout.schema), [], left_out)
        places = [self._places[each.id] for each in some]
        light = self._plan.missing.take(pa.array(places, pa.int64())).combine_chunks()
        schema = self._layout.schema
        heavy = {
            HEAVY[0]: pa.array([list(each.images) for each in some], IMAGES_TYPE),
            HEAVY[1]: embeddings_column([each.embeddings for each in some], schema.field(HEAVY[1]).type),
        }
        columns = [heavy[name] if name in heavy else light[name].combine_chunks() for name in schema.names]
        rows = pa.RecordBatch.from_arrays(columns, schema=schema)
        return PreparedRows(rows, [self._plan.origins[place] for place in places], left_out)

    def _check(self, each: EmbeddedImages | LeftOut) -> None:
        if each.id not in self._places:
            reason = "it is not among the products to embed"
        elif isinstance(each, LeftOut):
            reason = ""
        else:
            reason = row_fault(
                CatalogRow(Product(each.id), None, each.images, each.embeddings), self.embedder.dimension
            )
        if reason:
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"product {each.id!r}: {reason}")
