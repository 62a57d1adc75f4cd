"""A process with CatalogService is killed or terminated under 4 gRPC writers: every acknowledged write is there.

Longer: `pytest --long --timeout 0 tests/faults/test_catalog_service_crash.py`.
"""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline.v1.product_pb2 import Product
from sightline_server.catalog.verify import verify
from sightline_server.index.catalog import open_catalog
from sightline_server.index.faiss_index import FaissIndex
from tests.support.catalog_service import DIMENSION, SHOP, make_shop, product, ready, upsert
from tests.support.catalogs import unit_vectors
from tests.support.effort import examples
from tests.support.lens import FakeEngine

WRITERS = 4
SLOTS = 6
STARTED_WITH = {f"p{number}" for number in range(5)}
State = tuple[str, str] | None
"""Title and brand of a product; None where it is not there. The title is the seed of its embedding."""


class Expected:
    """The states that each product may have: the acknowledged one, and those that were sent after it."""

    def __init__(self) -> None:
        self.known: dict[str, State] = {}
        self.open: dict[str, list[State]] = {}
        self.acknowledged = 0

    def sent(self, product_id: str, state: State) -> None:
        """A write is on its way."""
        self.open.setdefault(product_id, []).append(state)

    def done(self, product_id: str, state: State) -> None:
        """A write was acknowledged."""
        self.known[product_id] = state
        self.open.pop(product_id, None)
        self.acknowledged += 1

    def compare(self, found: dict[str, State]) -> None:
        """Raises `AssertionError` for a state that a product may not have; the states found are known from now on."""
        for product_id in {*self.known, *self.open, *found} - STARTED_WITH:
            state = found.get(product_id)
            allowed = [self.known.get(product_id), *self.open.get(product_id, [])]
            assert state in allowed, f"{product_id}: {state}, allowed {allowed}"
            self.known[product_id] = state
        self.open.clear()


def sent_upsert(stub: Any, product_id: str, value: int) -> Any:
    sent = product(product_id, ready(FakeEngine().embedder.identity, value), title=str(value))
    return stub.UpsertProducts(iter([upsert(sent)]), timeout=30)


def sent_update(stub: Any, product_id: str, value: int) -> Any:
    mask = FieldMask(paths=["brand"])
    change = pb.ProductUpdate(name=f"{SHOP}/products/{product_id}", product=Product(brand=str(value)), update_mask=mask)
    return stub.UpdateProducts(pb.UpdateProductsRequest(parent=SHOP, updates=[change]), timeout=30)


def sent_delete(stub: Any, product_id: str, value: int) -> Any:
    deletion = pb.ProductDeletion(name=f"{SHOP}/products/{product_id}")
    request = pb.DeleteProductsRequest(parent=SHOP, deletions=[deletion], allow_missing=True)
    return stub.DeleteProducts(request, timeout=30)


async def statuses(call: Any) -> list[pb.ProductStatus]:
    """The statuses of a call, of a stream or of one answer."""
    if hasattr(call, "__aiter__") and isinstance(call, grpc.aio.StreamStreamCall):
        return [response.status async for response in call]
    return list((await call).statuses)


KINDS: dict[str, tuple[Callable[[Any, str, int], Any], Callable[[State, int], State]]] = {
    "upsert": (sent_upsert, lambda state, value: (str(value), "")),
    "update": (sent_update, lambda state, value: state and (state[0], str(value))),
    "delete": (sent_delete, lambda state, value: None),
}


async def write(stub: Any, writer: int, turn: int, expected: Expected) -> None:
    """One writer: random writes of its products until the server is gone."""
    choice = random.Random(turn * 100 + writer)
    for number in range(10_000):
        value = (turn * 10 + writer) * 10_000 + number
        product_id = f"w{writer}-{choice.randrange(SLOTS)}"
        call, after = KINDS[choice.choice(["upsert", "upsert", "update", "delete"])]
        state = after(expected.known.get(product_id), value)
        expected.sent(product_id, state)
        try:
            [status] = await statuses(call(stub, product_id, value))
        except grpc.aio.AioRpcError:
            return
        if status.status.code == grpc.StatusCode.OK.value[0]:
            expected.done(product_id, state)
        elif status.status.code != grpc.StatusCode.NOT_FOUND.value[0]:
            return


def play(shop: Path, turn: int, number: signal.Signals, expected: Expected) -> None:
    """Starts the server and the writers, and ends the server."""
    command = [sys.executable, "-m", "tests.support.crashing_catalog_service", str(shop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            asyncio.run(written(address, turn, lambda: process.send_signal(number), expected))
            code = process.wait(40)
        finally:
            process.kill()
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)


async def written(address: str, turn: int, end: Callable[[], None], expected: Expected) -> None:
    """The writers, under which `end` ends the server at a random moment."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = CatalogServiceStub(channel)
        writers = [asyncio.create_task(write(stub, writer, turn, expected)) for writer in range(WRITERS)]
        await asyncio.sleep(random.Random(turn).uniform(0.3, 1.5))
        end()
        await asyncio.wait_for(asyncio.gather(*writers), 40)


def found_states(shop: Path) -> dict[str, State]:
    """The states that a reader finds; each vector finds itself and is that of the title."""
    assert [finding.text for finding in verify(shop, all_revisions=True) if not finding.good] == []
    catalog = open_catalog(shop)
    vectors = catalog.vectors.astype(np.float32)
    index = FaissIndex(catalog.vectors, use_gpu=False)
    similarities, _ = index.search(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    assert similarities.min() > 0.999
    states: dict[str, State] = {}
    for place, shown in enumerate(catalog.display.to_pylist()):
        states[shown["id"]] = (shown["title"], shown["brand"])
        if shown["id"] not in STARTED_WITH:
            seed = int(shown["title"])
            assert np.allclose(vectors[catalog.owners == place], unit_vectors(1, seed, DIMENSION), atol=1e-3)
    assert set(states) >= STARTED_WITH
    return states


def test_no_acknowledged_write_is_lost_with_its_server(tmp_path: Path) -> None:
    shop, expected = make_shop(tmp_path), Expected()
    for turn in range(examples(2)):
        play(shop, turn, signal.SIGTERM if turn % 2 else signal.SIGKILL, expected)
        expected.compare(found_states(shop))
    assert expected.acknowledged > 20


def test_a_lost_write_would_be_noticed() -> None:
    expected = Expected()
    expected.sent("w0-0", ("1", ""))
    expected.compare({})
    expected.sent("w0-0", ("2", ""))
    expected.done("w0-0", ("2", ""))
    expected.sent("w0-0", ("2", "3"))
    with pytest.raises(AssertionError, match="w0-0"):
        expected.compare({})
    expected.compare({"w0-0": ("2", "3")})
    with pytest.raises(AssertionError, match="w0-0"):
        expected.compare({"w0-0": ("2", "4")})
