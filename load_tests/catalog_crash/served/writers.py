"""gRPC writers of a served catalog: random writes of products that only they write, and what became of each.

Rule: messages and codes as they are on the channel, without the retries of a client, because the codes are checked. The
first half of the writers sends ready embeddings only, so that what an engine that is down does to them is seen.
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2

from load_tests.catalog_churn.shop import NAME, Seeds
from load_tests.catalog_crash.rows import GROUP
from load_tests.catalog_crash.served.states import Expected, Kind, Sent, State
from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline.v1.product_pb2 import Product

PARENT = f"catalogs/{NAME}"
SLOTS = 6
"""Groups of products of one writer."""
CALL_S = 60.0
OK, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE = (
    code.value[0]
    for code in (
        *(grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND),
        *(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE),
    )
)
KINDS = (Kind.READY, Kind.READY, Kind.UPDATE, Kind.DELETE)
KINDS_WITH_IMAGES = (Kind.IMAGE, Kind.IMAGE, *KINDS)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to one product: instants of the monotonic clock, and whether it was written."""

    kind: Kind
    began: float
    ended: float
    written: bool


@dataclass
class Answers:
    """The answers so far. `unclear` are refusals that do not say when to try again."""

    all: list[Answered] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def of(self, *kinds: Kind, since: float) -> Iterator[Answered]:
        """The answers to writes of `kinds` that began at `since` or later."""
        return (each for each in self.all if each.kind in kinds and each.began >= since)


class Writers:
    """The writers of the catalog at `target`, until `stop` or until the server ends their calls."""

    def __init__(self, target: str, embedder: str, seeds: Seeds, expected: Expected, answers: Answers) -> None:
        self._target = target
        self._embedder = embedder
        self._seeds = seeds
        self._expected = expected
        self._answers = answers
        self._stopped = False
        self.ended_by_server: list[str] = []
        """The error of each call that the server ended."""

    def stop(self) -> None:
        """Ends each writer after its write."""
        self._stopped = True

    async def run(self, writers: int, seed: int) -> None:
        """Writes until the end."""
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub = CatalogServiceStub(channel)
            async with asyncio.TaskGroup() as tasks:
                for number in range(writers):
                    kinds = KINDS if number < writers / 2 else KINDS_WITH_IMAGES
                    tasks.create_task(self._write_as(stub, f"w{number}", kinds, seed * writers + number))

    async def send_again(self) -> None:
        """Sends each write without an answer again, under its request id; it must succeed."""
        async with grpc.aio.insecure_channel(self._target) as channel:
            for write in list(self._expected.open):
                await self._send(CatalogServiceStub(channel), write)

    async def _write_as(self, stub: Any, writer: str, kinds: Sequence[Kind], seed: int) -> None:
        choice = random.Random(seed)
        value = seed * 10_000
        while not self._stopped:
            value += 1
            ids = [f"{writer}-{choice.randrange(SLOTS)}-{number}" for number in range(GROUP)]
            write = self._next(choice.choice(kinds), ids, value)
            self._expected.sent(write)
            try:
                await self._send(stub, write)
            except grpc.aio.AioRpcError as error:
                self.ended_by_server.append(f"{error.code().name}: {error.details()}")
                return

    def _next(self, kind: Kind, ids: Sequence[str], value: int) -> Sent:
        """A write of those products; an update of products of which none is there is an upsert instead."""
        known = self._expected.known
        states: dict[str, State | None]
        if kind is Kind.UPDATE and any(each in known for each in ids):
            there = {each: known[each] for each in ids if each in known}
            states = {each: State(state.kind, state.value, str(value)) for each, state in there.items()}
        elif kind is Kind.DELETE:
            states = dict.fromkeys(ids)
        else:
            kind = Kind.READY if kind is Kind.UPDATE else kind
            states = {each: State(kind, value * GROUP + place) for place, each in enumerate(ids)}
        common = uuid.uuid4().hex
        whole = kind in (Kind.UPDATE, Kind.DELETE)
        return Sent(kind, states, {each: common if whole else uuid.uuid4().hex for each in states})

    async def _send(self, stub: Any, write: Sent) -> None:
        began = time.monotonic()
        ids = sorted(self._expected.open[write])
        place = 0
        async for status in self._statuses(stub, write, ids):
            self._note(write, ids[place], status, began)
            began = time.monotonic()
            place += 1

    async def _statuses(self, stub: Any, write: Sent, ids: Sequence[str]) -> AsyncIterator[status_pb2.Status]:
        if write.kind is Kind.UPDATE:
            answer = await stub.UpdateProducts(updates_of(write, ids), timeout=CALL_S)
            statuses = answer.statuses
        elif write.kind is Kind.DELETE:
            answer = await stub.DeleteProducts(deletions_of(write, ids), timeout=CALL_S)
            statuses = answer.statuses
        else:
            async for response in stub.UpsertProducts(self._upserts(write, ids), timeout=CALL_S):
                yield response.status.status
            return
        for each in statuses:
            yield each.status

    def _upserts(self, write: Sent, ids: Iterable[str]) -> Iterator[pb.UpsertProductsRequest]:
        for each in ids:
            state = write.states[each]
            assert state is not None
            product = pb.CatalogProduct(product=Product(id=each, title=state.title), images=self._images(state))
            yield pb.UpsertProductsRequest(parent=PARENT, product=product, request_id=write.request_ids[each])

    def _images(self, state: State) -> list[pb.ProductImage]:
        ready = pb.Embedding(embedder=self._embedder, values=self._seeds.copy(state.value).tolist())
        images = [pb.ProductImage(link=f"{state.value}.jpg", embedding=ready)]
        if state.kind is Kind.IMAGE:
            images.insert(0, pb.ProductImage(link="sent.jpg", data=self._seeds.of(state.value).image))
        return images

    def _note(self, write: Sent, product_id: str, status: status_pb2.Status, began: float) -> None:
        written = status.code == OK
        self._answers.all.append(Answered(write.kind, began, time.monotonic(), written))
        if written:
            self._expected.acknowledged(write, product_id)
            return
        self._expected.refused(write, product_id)
        if not is_retryable(status):
            self._answers.unclear.append(f"{write.kind.value} {product_id}: code {status.code}: {status.message}")


def updates_of(write: Sent, ids: Sequence[str]) -> pb.UpdateProductsRequest:
    """The request of an update."""
    mask = FieldMask(paths=["brand"])
    updates = [
        pb.ProductUpdate(name=f"{PARENT}/products/{each}", product=Product(brand=state.brand), update_mask=mask)
        for each in ids
        if (state := write.states[each]) is not None
    ]
    return pb.UpdateProductsRequest(parent=PARENT, updates=updates, request_id=write.request_ids[ids[0]])


def deletions_of(write: Sent, ids: Sequence[str]) -> pb.DeleteProductsRequest:
    """The request of a delete."""
    deletions = [pb.ProductDeletion(name=f"{PARENT}/products/{each}") for each in ids]
    request_id = write.request_ids[ids[0]]
    return pb.DeleteProductsRequest(parent=PARENT, deletions=deletions, request_id=request_id, allow_missing=True)


def is_retryable(status: status_pb2.Status) -> bool:
    """Returns whether a status says that and when to try again."""
    wait = any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
    return wait and status.code in (UNAVAILABLE, RESOURCE_EXHAUSTED)
