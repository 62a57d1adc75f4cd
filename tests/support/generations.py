"""Another embedder for the catalogs of tests, and generations that are prepared with it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from sightline_server.catalog.revisions import Revision
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import EMBEDDER, EmbedderSpec, Role
from sightline_server.index.living import LivingCatalog
from sightline_server.index.reembedding import EmbeddedImages, Reembedding
from tests.support.catalogs import SPEC, unit_vectors

OTHER = replace(SPEC, name="other", dimension=12, sha256="cd" * 32)
"""An embedder of other vectors than those of `SPEC`."""
LIKE = replace(SPEC, name="like", sha256="ef" * 32)
"""An embedder with vectors as long as those of `SPEC`."""


def served(*further: EmbedderSpec) -> ServedEmbedders:
    """The embedders of a server: `SPEC` and others."""
    return ServedEmbedders.of(
        [(EMBEDDER, SPEC), *((Role[EmbedderSpec](f"embedder-{each.name}"), each) for each in further)]
    )


def embedded(work: Reembedding) -> Iterator[EmbeddedImages]:
    """The products as the other embedder makes them: vectors that depend on the links alone."""
    for each in work.products():
        seeds = [sum(link.encode()) for link in each.images]
        vectors = np.concatenate([unit_vectors(1, seed, work.embedder.dimension) for seed in seeds])
        yield EmbeddedImages(each.product.id, each.images, vectors)


def prepare(shop: Path, living: LivingCatalog, spec: EmbedderSpec = OTHER) -> Revision:
    """A revision that `spec` has made of the content of now."""
    work = Reembedding(shop, spec)
    return work.prepare(living.store, embedded(work))
