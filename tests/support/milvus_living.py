"""A whole server that writes a catalog in Milvus: both gRPC listeners, the real log, and the real Milvus."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import product_pb2
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline.v1.catalog_transfer_service_pb2_grpc import CatalogTransferServiceStub
from sightline_server.app.parts import admit_calls, build_catalog_door, build_core, build_front, start_refusing
from sightline_server.app.writing import listen_for_writes
from sightline_server.app.written import WrittenCatalogs
from sightline_server.domain.items import Neighbour, Product
from sightline_server.index.adopting import adopt
from sightline_server.index.catalog import open_catalog
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.pushing import Pushed, push
from sightline_server.index.registry import Registry
from sightline_server.rpc.server import listening
from sightline_server.settings import Settings
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.lens import FakeEngine, channel_to

EMBEDDER = FakeEngine().embedder


@dataclass
class Living:
    """A server that writes the catalog `name`, and what a test needs of it."""

    name: str
    registry: Registry
    written: WrittenCatalogs
    metrics: Metrics
    stub: Any
    transfers: Any

    def value(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it has none yet."""
        return self.metrics.registry.get_sample_value(f"sightline_{name}", labels) or 0.0

    async def upsert(self, *products: pb.CatalogProduct, **fields: Any) -> list[pb.ProductStatus]:
        """The statuses of one stream."""
        parent = f"catalogs/{self.name}"
        sent = [pb.UpsertProductsRequest(parent=parent, product=each, **fields) for each in products]
        call = self.stub.UpsertProducts(iter(sent), timeout=60)
        return [response.status async for response in call]

    async def update(self, product_id: str, **fields: Any) -> pb.ProductStatus:
        """The status of one update of the fields that are given."""
        name = f"catalogs/{self.name}/products/{product_id}"
        sent = pb.ProductUpdate(name=name, product=product_pb2.Product(**fields))
        request = pb.UpdateProductsRequest(parent=f"catalogs/{self.name}", updates=[sent])
        status: pb.ProductStatus = (await self.stub.UpdateProducts(request, timeout=60)).statuses[0]
        return status

    async def delete(self, *ids: str) -> list[pb.ProductStatus]:
        """The statuses of deletions of one request."""
        parent = f"catalogs/{self.name}"
        sent = [pb.ProductDeletion(name=f"{parent}/products/{product_id}") for product_id in ids]
        request = pb.DeleteProductsRequest(parent=parent, deletions=sent)
        return list((await self.stub.DeleteProducts(request, timeout=60)).statuses)

    async def nearest(self, vector: NDArray[np.float32], k: int = 5) -> list[Neighbour]:
        """The nearest products of the view that a search gets now."""
        [found] = await self.registry.current(self.name).nearest(vector[np.newaxis], k)
        return found

    async def shown(self, vector: NDArray[np.float32]) -> Product:
        """The nearest product as an answer shows it."""
        view = self.registry.current(self.name)
        [[first]] = await view.nearest(vector[np.newaxis], 1)
        return view.products([first.row])[0]


def ready(vector: NDArray[np.float32], link: str = "https://shop.example/new.jpg") -> pb.ProductImage:
    """An image as a ready embedding."""
    values = [float(value) for value in vector]
    return pb.ProductImage(link=link, embedding=pb.Embedding(embedder=EMBEDDER.identity, values=values))


def product(product_id: str, *vectors: NDArray[np.float32], **fields: Any) -> pb.CatalogProduct:
    """A product with ready embeddings."""
    sent = product_pb2.Product(id=product_id, **fields)
    return pb.CatalogProduct(product=sent, images=[ready(vector) for vector in vectors])


def push_writable(uri: str, folder: Path, name: str) -> Pushed:
    """Copies the catalog at `folder` to Milvus so that it can be written."""
    adopt(folder, actor="test")
    client = Milvus(uri, call_s=30.0)
    try:
        return push(open_catalog(folder), name, client, writable=True)
    finally:
        client.close()


@asynccontextmanager
async def living(uri: str, folder: Path, name: str) -> AsyncIterator[Living]:
    """A server that writes the catalog `name` at `folder` and in the Milvus at `uri`."""
    async with AsyncExitStack() as stack:
        settings = Settings(
            server={"listen": "127.0.0.1:0", "catalog_listen": "127.0.0.1:0"},  # type: ignore[arg-type]
            catalogs={name: {"backend": "milvus", "uri": uri, "path": folder}},  # type: ignore[dict-item]
        )
        metrics, engine = Metrics(), FakeEngine()
        front = build_front(stack, settings, metrics)
        stack.enter_context(listening(front.door.server, settings.server, front.door.certificates))
        door = build_catalog_door(front)
        address = str(stack.enter_context(door.listening()))
        await door.start()
        stack.push_async_callback(door.server.stop, None)
        await start_refusing(stack, front)
        written = WrittenCatalogs(stack, {}, metrics, in_milvus=settings.written_in_milvus)
        core = await build_core(stack, front, engine, EngineMetrics(metrics.engine), written.publish, live=written.live)
        await admit_calls(front, core)
        await listen_for_writes(stack, front, core, door, written, None)
        channel = await stack.enter_async_context(channel_to(address, None, ()))
        yield Living(
            name, core.registry, written, metrics, CatalogServiceStub(channel), CatalogTransferServiceStub(channel)
        )
