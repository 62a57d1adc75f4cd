"""Generations through the real channel: listed, activated, refused where writes would be lost, and written to."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client import AsyncCatalogClient
from sightline_client.catalog.revisions import RevisionKind
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.catalog.upserts import Upserts
from tests.support.catalog_service import (
    DIMENSION,
    SHOP,
    ServedCatalog,
    catalog_serving,
    embedding,
    make_shop,
    png,
    product,
    ready,
    reason,
    upsert,
    upserted,
)
from tests.support.catalogs import SPEC, unit_vectors
from tests.support.generations import OTHER, prepare


async def prepared(served: ServedCatalog, shop: Path) -> Revision:
    """A revision of another embedder, made while the catalog is served."""
    return await asyncio.to_thread(prepare, shop, served.writer._living)


async def test_a_prepared_revision_is_listed_and_activated(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    async with catalog_serving(shop) as served:
        made = await prepared(served, shop)
        listed = (await served.stub.ListRevisions(pb.ListRevisionsRequest(parent=SHOP))).revisions
        assert [(each.number, each.kind, each.generation) for each in listed] == [
            (made.number, pb.REVISION_KIND_PREPARED, 2),
            (1, pb.REVISION_KIND_BUILD, 1),
        ]
        before = (await served.stub.GetCatalog(pb.GetCatalogRequest(name=SHOP))).catalog
        assert (before.revision_number, before.embedder.dimension) == (1, DIMENSION)
        wanted = pb.ActivateRevisionRequest(name=listed[0].name, etag=before.etag)
        switched = (await served.stub.ActivateRevision(wanted)).revision
        assert (switched.kind, switched.generation) == (pb.REVISION_KIND_ROLLBACK, 2)
        after = (await served.stub.GetCatalog(pb.GetCatalogRequest(name=SHOP))).catalog
        assert (after.embedder.id, after.embedder.dimension) == (OTHER.identity, OTHER.dimension)
        image = pb.ProductImage(link="a.jpg", embedding=embedding(OTHER.identity, unit_vectors(1, 1, 12)[0]))
        old = ready(served.engine.embedder.identity)
        statuses = await upserted(served, upsert(product("new", image)), upsert(product("old", old)))
        assert [reason(status) for status in statuses] == ["OK", "INVALID_REQUEST"]
        async with AsyncCatalogClient(served.address) as client:
            kinds = [(each.kind, each.generation) async for each in client.revisions("shop")]
        assert kinds == [(RevisionKind.ROLLBACK, 2), (RevisionKind.PREPARED, 2), (RevisionKind.BUILD, 1)]


async def test_an_activation_that_would_lose_products_is_refused_with_their_number(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    async with catalog_serving(shop) as served:
        made = await prepared(served, shop)
        [status] = await upserted(served, upsert(product("new", ready(served.embedder, 7))))
        assert reason(status) == "OK"
        activation = served.stub.ActivateRevision(pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/{made.number}"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await activation
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "1 product" in str(caught.value.details())
        catalog = (await served.stub.GetCatalog(pb.GetCatalogRequest(name=SHOP))).catalog
        assert (catalog.embedder.dimension, catalog.product_count) == (DIMENSION, 6)


class ChangingWriter:
    """A writer whose catalog gets another embedder while the first images are embedded."""

    name = "shop"
    views = 1

    def __init__(self, changes: int) -> None:
        self.embedder = SPEC
        self.changes = changes
        self.rows: list[CatalogRow] = []

    async def upsert(self, rows: Sequence[CatalogRow], *arguments: Any, **options: Any) -> Receipt:
        if self.changes:
            self.changes -= 1
            self.embedder = OTHER
            raise SightlineError(ErrorKind.EMBEDDER_CHANGED, "another embedder")
        self.rows += rows
        return Receipt((1,))

    async def keep(self, images: Sequence[bytes]) -> tuple[str, ...]:
        return ()

    keeps_features = False


class Images:
    """Embeds every image as a vector of the asked embedder."""

    def of(self, embedder: EmbedderSpec) -> "Images":
        found = Images()
        found.dimension = embedder.dimension
        return found

    dimension = 0

    async def embed(self, images: Sequence[bytes], *, deadline: float, views: int = 1) -> list[NDArray[np.float32]]:
        return list(unit_vectors(len(images), 1, self.dimension).reshape(len(images), 1, -1))


@pytest.mark.parametrize(("changes", "outcome"), [(0, "OK"), (1, "OK"), (2, "EMBEDDER_CHANGED")])
async def test_a_product_is_embedded_again_when_the_embedder_changed_meanwhile(changes: int, outcome: str) -> None:
    writer = ChangingWriter(changes)
    upserts = Upserts(writer, Images(), "call", math.inf)  # type: ignore[arg-type]
    request = upsert(product("new", pb.ProductImage(link="a.jpg", data=png())))
    status = (await upserts.respond(request.SerializeToString())).status
    assert reason(status) == outcome
    assert [(each.embedder, each.embeddings.shape[1]) for each in writer.rows] == (
        [] if outcome != "OK" else [(writer.embedder, writer.embedder.dimension)]
    )
