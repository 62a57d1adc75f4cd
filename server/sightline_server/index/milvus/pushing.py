"""A local catalog -> a new collection in Milvus, checked, and then the active one.

    lease -> leftovers removed -> collection with its facts -> rows -> sealed, indexed, loaded -> checked -> alias
Rule: the alias is set last, in one step, so that a push which ends anywhere before leaves what is served. Its
collection is removed by the next push; one that was active before stays until then, for the calls that still search it.
Only the holder of the catalog's lease removes collections or sets the alias.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.faiss_index import normalised
from sightline_server.index.gtins import GtinRows
from sightline_server.index.half_floats import float32
from sightline_server.index.milvus import fields
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.facts import CollectionFacts, Sample
from sightline_server.index.milvus.lease import Lease, holding
from sightline_server.index.milvus.names import alias_of, collections_of, new_collection
from sightline_server.index.milvus.opening import checked_snapshot
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.selfcheck import NEAREST, nearest_similarities

SAMPLES = 16
EXACT_MIB = 512


@dataclass(frozen=True, slots=True)
class Pushed:
    """The revision that is active now, and what was found when it was checked."""

    collection: str
    revision: str
    images: int
    recall: float


def push(
    catalog: Catalog,
    name: str,
    milvus: Milvus,
    *,
    exact_mib: int = EXACT_MIB,
    writable: bool = False,
    progress: Callable[[int], None] = lambda _images: None,
) -> Pushed:
    """Copies `catalog` into Milvus as the next active revision of `name`; `progress` gets the images that are there.

    Up to `exact_mib` MiB of vectors Milvus compares all of them (FLAT), above it has a graph (HNSW). Where it is
    `writable`, the server that has the catalog's folder may write to it, and then `catalog` is one with a log. Raises
    `SightlineError`: INDEX_UNAVAILABLE where Milvus does not answer, another process changes the catalog, or the check
    fails, INVALID_REQUEST for a product that Milvus has no room for, CONFIGURATION for a catalog without products. What
    was active stays so then.
    """
    facts = facts_of(catalog, name, exact_mib, writable=writable)
    with holding(milvus, name, "a push") as lease:
        return pushed(catalog, facts, milvus, lease, progress)


def pushed(
    catalog: Catalog, facts: CollectionFacts, milvus: Milvus, lease: Lease, progress: Callable[[int], None]
) -> Pushed:
    """`push` by the holder of `lease`."""
    name, alias = facts.catalog, alias_of(facts.catalog)
    active = milvus.active(alias)
    remove_others(milvus, name, active)
    collection = new_collection(name)
    milvus.create(collection, facts, catalog.facts.embedder.dimension)
    done = 0
    for rows in fields.rows_of(catalog):
        for part in fields.in_calls(rows):
            lease.require()
            milvus.insert(collection, part)
            done += len(part)
            progress(done)
    milvus.finish(collection, facts.index)
    checked = checked_snapshot(milvus, name, collection, pushed=True)
    # A lease can be lost while this process was stopped: what another one has made active since then stays.
    if milvus.active(alias) != active:
        message = f"catalog {name} in Milvus was changed during the push, and stays as it is; push again"
        raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)
    lease.require()
    milvus.activate(alias, collection, existing=active is not None)
    return Pushed(collection, facts.revision, facts.images, checked.self_check_recall)


def remove_others(milvus: Milvus, name: str, active: str | None) -> None:
    """Removes the collections of `name` that are not active: of pushes that failed, and of revisions before."""
    for collection in milvus.collections(collections_of(name)):
        if collection != active:
            milvus.drop(collection)


def facts_of(catalog: Catalog, name: str, exact_mib: int, *, writable: bool) -> CollectionFacts:
    """The facts of the collection that `catalog` becomes."""
    vectors = catalog.vectors
    exact = 4 * vectors.size <= exact_mib << 20
    return CollectionFacts(
        catalog=name,
        revision=catalog.revision,
        products=len(catalog.display),
        images=len(vectors),
        max_images=catalog.facts.max_images,
        gtins=len(GtinRows.of(catalog.display["gtin"])),
        index="FLAT" if exact else "HNSW",
        metadata={key.decode(): text.decode() for key, text in catalog.facts.metadata().items()},
        samples=samples_of(catalog),
        writable=writable,
    )


def samples_of(catalog: Catalog) -> tuple[Sample, ...]:
    """Images spread through the catalog, with their digests and the similarity of their tenth nearest image."""
    images = np.unique(np.linspace(0, len(catalog.vectors) - 1, min(SAMPLES, len(catalog.vectors)), dtype=np.int64))
    queries = normalised(float32(catalog.vectors[images]))
    k = min(NEAREST, len(catalog.vectors))
    tenth = nearest_similarities(queries, catalog.vectors, k)[:, -1]
    products = fields.ProductRows(catalog.display, catalog.prices)
    samples = []
    for image, vector, similarity in zip(images.tolist(), queries, tenth.tolist(), strict=True):
        owner = int(catalog.owners[image])
        first = int(image == 0 or catalog.owners[image - 1] != owner)
        link = catalog.image_links[image].as_py()
        row = {fields.PRIMARY: image, fields.VECTOR: vector, "link_of_image": link, "first_image": first}
        samples.append(Sample(image, fields.digest_of({**products.row(owner), **row}), similarity))
    return tuple(samples)
