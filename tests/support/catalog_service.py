"""CatalogService on a real port, over a real catalog and the real writer; only the engine is `FakeEngine`."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from PIL import Image

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import product_pb2
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline_server.app.access import open_access
from sightline_server.app.batchers import build_batchers
from sightline_server.app.catalog_door import CatalogDoor
from sightline_server.app.door import MakeAccess
from sightline_server.app.limits import catalog_limits
from sightline_server.app.photo_threads import photo_threads
from sightline_server.app.transfers import batched_embed
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.living import LivingCatalog
from sightline_server.ingest.images_by_embedder import ImagesByEmbedder
from sightline_server.ingest.served_images import ServedImages
from sightline_server.settings import Settings
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import OFF
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.lens import FakeEngine, channel_to

SHOP = "catalogs/shop"
DIMENSION = 4


@dataclass
class ServedCatalog:
    """The listener of one catalog and what a test needs of it."""

    door: CatalogDoor
    writer: GroupWriter
    images: ImagesByEmbedder
    engine: FakeEngine
    metrics: Metrics
    address: str
    stub: Any

    @property
    def embedder(self) -> str:
        """The identity of the catalog's embedder."""
        return self.writer.embedder.identity


def make_shop(folder: Path) -> Path:
    """A catalog of five products for the embedder of `FakeEngine`."""
    rows = [row(f"p{n}", unit_vectors(1, n, DIMENSION), title=f"title {n}") for n in range(5)]
    write_catalog(folder / "shop", rows, FakeEngine().embedder)
    return folder / "shop"


@asynccontextmanager
async def catalog_serving(
    shop: Path,
    *,
    access: MakeAccess = open_access,
    opened: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    **parts: Mapping[str, Any],
) -> AsyncIterator[ServedCatalog]:
    """CatalogService for the catalog at `shop`, under the name shop."""
    async with AsyncExitStack() as stack:
        server = {"catalog_listen": "127.0.0.1:0", **parts.pop("server", {})}
        settings = Settings(**{"catalog": {"path": shop, "name": "shop"}, "server": server, **parts})  # type: ignore[arg-type]
        metrics, engine = Metrics(), FakeEngine()
        batchers = build_batchers(stack, settings, engine, metrics)
        threads = photo_threads(stack, settings.decode, metrics)
        (identity, crops), *_ = batchers.crops_of.items()
        embedder, background = engine.embedder, batchers.background
        served = ServedImages(threads, catalog_limits(settings), embedder, crops, background)
        images = ImagesByEmbedder(engine.embedders, {identity: served})
        living = stack.enter_context(LivingCatalog(shop, actor="test"))
        writer = GroupWriter("shop", living, clock=time.monotonic)
        writer.start()
        stack.push_async_callback(writer.close)
        door = CatalogDoor(settings, metrics, OFF, access(settings.catalog_names))
        address = str(stack.enter_context(door.listening()))
        await door.start()
        stack.push_async_callback(door.server.stop, None)
        stack.push_async_callback(door.close, 5.0)
        channel = await stack.enter_async_context(channel_to(address, credentials, ()))
        if opened:
            door.transfers.open(engine.embedders, {identity: batched_embed(embedder, crops, background)})
            door.transfers.opened = lambda name: living
            door.writers.publish({"shop": writer}, images)
            await door.open()
        yield ServedCatalog(door, writer, images, engine, metrics, address, CatalogServiceStub(channel))


def png(shade: int = 90) -> bytes:
    """A small image of one grey."""
    file = BytesIO()
    Image.new("RGB", (20, 10), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def ready(embedder: str, seed: int = 0) -> pb.ProductImage:
    """An image as a ready embedding."""
    vector = unit_vectors(1, seed, DIMENSION)[0]
    return pb.ProductImage(link=f"https://shop.example/{seed}.jpg", embedding=embedding(embedder, vector))


def embedding(embedder: str, vector: Iterable[float]) -> pb.Embedding:
    """A ready embedding."""
    return pb.Embedding(embedder=embedder, values=list(np.asarray(vector, np.float32)))


def product(product_id: str, *images: pb.ProductImage, etag: str = "", **fields: Any) -> pb.CatalogProduct:
    """A product with its images."""
    return pb.CatalogProduct(product=product_pb2.Product(id=product_id, **fields), images=images, etag=etag)


def upsert(sent: pb.CatalogProduct, **fields: Any) -> pb.UpsertProductsRequest:
    """One message of a stream."""
    return pb.UpsertProductsRequest(**{"parent": SHOP, "product": sent, **fields})


async def upserted(served: ServedCatalog, *requests: Any) -> list[pb.ProductStatus]:
    """The statuses of one stream of messages."""
    call = served.stub.UpsertProducts(iter(requests), timeout=60)
    return [response.status async for response in call]


def reason(status: pb.ProductStatus) -> str:
    """The reason in the ErrorInfo of a status, or OK."""
    info = error_details_pb2.ErrorInfo()
    return info.reason if status.status.code and status.status.details[0].Unpack(info) else "OK"


def field(status: pb.ProductStatus) -> str:
    """The field at fault of a status."""
    bad = error_details_pb2.BadRequest()
    return next((bad.field_violations[0].field for each in status.status.details if each.Unpack(bad)), "")
