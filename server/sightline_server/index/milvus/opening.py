"""The alias of a catalog -> a checked snapshot of the collection that it names.

Rule: a collection that lacks rows, has other rows, or finds too few of the nearest vectors is refused. Every check
reads the collection itself, through the calls that searches use.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline_server.domain.embedders import Embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import bound
from sightline_server.index.milvus import fields
from sightline_server.index.milvus.client import BOUNDED, STRONG, Milvus
from sightline_server.index.milvus.facts import CollectionFacts, Sample
from sightline_server.index.milvus.names import alias_of
from sightline_server.index.milvus.snapshot import MilvusSnapshot
from sightline_server.index.opening import LEAST_RECALL
from sightline_server.index.schema import CatalogFacts
from sightline_server.index.selfcheck import NEAREST, TOLERANCE

logger = logging.getLogger(__name__)

EVERY_FIELD = (fields.PRIMARY, fields.VECTOR, *fields.NUMBERS, *fields.TEXTS, *fields.LISTS)


def open_collection(milvus: Milvus, name: str, embedders: Embedders | None = None) -> MilvusSnapshot:
    """Opens the active revision of catalog `name` and checks it; blocking.

    Raises `SightlineError`: INDEX_UNAVAILABLE where Milvus does not answer, or the collection does not hold what was
    pushed; CONFIGURATION where there is none, it is not ours, or none of `embedders` made its vectors.
    """
    collection = milvus.active(alias_of(name))
    if collection is None:
        message = f"Milvus has no catalog {name}; make it with `sightline catalog push {name} --to milvus`"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return checked_snapshot(milvus, name, collection, embedders)


def checked_snapshot(
    milvus: Milvus, name: str, collection: str, embedders: Embedders | None = None, *, pushed: bool = False
) -> MilvusSnapshot:
    """The snapshot of `collection`, whether it is active or not; `pushed` says that nothing was written since its push.

    Raises as `open_collection`.
    """
    facts = CollectionFacts.parse(milvus.description(collection))
    stored = CatalogFacts.parse({key.encode(): text.encode() for key, text in facts.metadata.items()})
    embedder = bound(f"collection {collection}", stored, embedders)
    if facts.writable and not pushed:
        products = milvus.count(collection, "first_image == 1", consistency=STRONG)
        recall = check_written(milvus, name, collection, facts)
    else:
        products = facts.products
        found = milvus.count(collection, consistency=STRONG)
        if found != facts.images:
            raise refused(name, f"it has {found} images, and {facts.images} were pushed")
        recall = check_samples(milvus, name, collection, facts)
    logger.info(
        "catalog %s: revision %s, %d products, in Milvus; self-check recall@10 %.3f",
        *(name, facts.revision, products, recall),
    )
    return MilvusSnapshot(name, collection, facts, embedder, milvus, recall, products)


def check_samples(milvus: Milvus, name: str, collection: str, facts: CollectionFacts) -> float:
    """Recall@10 of searches with the vectors of the samples, 0..1. Raises where a sample is missing or changed."""
    wanted = {sample.image: sample for sample in facts.samples}
    rows = milvus.query(collection, f"{fields.PRIMARY} in {sorted(wanted)}", EVERY_FIELD, consistency=STRONG)
    if {row[fields.PRIMARY] for row in rows} != set(wanted):
        raise refused(name, "some of its images are missing")
    if any(fields.digest_of(row) != wanted[row[fields.PRIMARY]].sha256 for row in rows):
        raise refused(name, "its content is not what was pushed")
    queries = np.array([row[fields.VECTOR] for row in rows], np.float32)
    answers = milvus.search(collection, queries, min(NEAREST, facts.images), "", [])
    found = [right(hits, wanted[row[fields.PRIMARY]]) for hits, row in zip(answers, rows, strict=True)]
    recall = sum(found) / (len(found) * min(NEAREST, facts.images))
    if recall < LEAST_RECALL:
        raise refused(name, f"its index finds {recall:.0%} of the nearest images, expected at least {LEAST_RECALL:.0%}")
    return recall


def check_written(milvus: Milvus, name: str, collection: str, facts: CollectionFacts) -> float:
    """The share of the samples that are still there whose vector finds itself, 0..1; 1 where none is.

    Of a collection that is written neither the number of rows nor their content is known beforehand. Raises where too
    few are found.
    """
    images = sorted(sample.image for sample in facts.samples)
    names = [fields.PRIMARY, fields.VECTOR]
    rows = milvus.query(collection, f"{fields.PRIMARY} in {images}", names, consistency=STRONG)
    if not rows:
        return 1.0
    queries = np.array([row[fields.VECTOR] for row in rows], np.float32)
    answers = milvus.search(collection, queries, 1, "", [], consistency=BOUNDED)
    found = sum(bool(hits) and float(hits[0]["distance"]) >= 1.0 - TOLERANCE for hits in answers)
    if found < LEAST_RECALL * len(rows):
        raise refused(name, f"its index finds {found} of {len(rows)} images by their own vectors")
    return found / len(rows)


def right(hits: Sequence[Mapping[str, Any]], sample: Sample) -> int:
    """The hits that are as near as the tenth truly nearest vector; 0 where a vector does not find itself."""
    similarities = [float(hit["distance"]) for hit in hits]
    if not similarities or similarities[0] < 1.0 - TOLERANCE:
        return 0
    return sum(similarity >= sample.tenth - TOLERANCE for similarity in similarities)


def refused(name: str, why: str) -> SightlineError:
    """The error of a collection that is not served."""
    message = f"catalog {name} in Milvus is not served: {why}; push it again"
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)
