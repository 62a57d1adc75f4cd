"""Generations of a catalog: prepared next to the current one, made current by one revision, and gone back from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.catalog.verify import verify
from sightline_server.index.catalog import open_catalog, read_facts
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.reembedding import EmbeddedImages, Reembedding
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog

OTHER = replace(SPEC, name="other", dimension=12, sha256="cd" * 32)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalog of format 1 with 5 products."""
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(2, n), title=f"title {n}") for n in range(5)])
    return tmp_path / "shop"


@pytest.fixture
def living(shop: Path) -> Iterator[LivingCatalog]:
    with LivingCatalog(shop) as opened:
        yield opened


def embedded(work: Reembedding) -> Iterator[EmbeddedImages]:
    """The products as the other embedder makes them: a vector that depends on the link alone."""
    for each in work.products():
        seeds = [sum(link.encode()) for link in each.images]
        vectors = np.concatenate([unit_vectors(1, seed, work.embedder.dimension) for seed in seeds])
        yield EmbeddedImages(each.product.id, each.images, vectors)


def prepared(shop: Path, living: LivingCatalog, spec: object = OTHER) -> Revision:
    """A revision that the other embedder has made of the content of now."""
    work = Reembedding(shop, spec)  # type: ignore[arg-type]
    return work.prepare(living.store, embedded(work))


def titles(shop: Path) -> dict[str, str]:
    return {each["id"]: each["title"] for each in open_catalog(shop).display.to_pylist()}


def require_intact(shop: Path) -> None:
    assert [finding.text for finding in verify(shop, all_revisions=True) if not finding.good] == []


def test_a_prepared_generation_changes_nothing_until_it_is_activated(shop: Path, living: LivingCatalog) -> None:
    before = open_catalog(shop)
    made = prepared(shop, living)
    assert (made.kind, made.generation, made.rows, made.items) == (RevisionKind.PREPARED, 2, 5, 10)
    assert read_facts(shop).embedder == SPEC
    assert open_catalog(shop).revision == before.revision
    living.update([ProductUpdate("p1", {"title": "changed"})])
    living.checkpoint()
    living.delete(["p0"])
    switched = living.store.rollback(made.number)
    assert (switched.kind, switched.generation) == (RevisionKind.ROLLBACK, 2)
    assert titles(shop) == {"p1": "changed", "p2": "title 2", "p3": "title 3", "p4": "title 4"}
    after = open_catalog(shop, OTHER)
    assert after.vectors.shape == (8, 12)
    require_intact(shop)
