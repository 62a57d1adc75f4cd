"""Imports and exports by the catalog client, against operations that advance with each question."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.longrunning import operations_proto_pb2 as lro
from google.longrunning.operations_pb2_grpc import OperationsServicer, add_OperationsServicer_to_server
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2
from grpc_status import rpc_status

from sightline.v1 import catalog_transfer_service_pb2 as pb
from sightline.v1 import catalog_transfer_service_pb2_grpc
from sightline_client import (
    AsyncCatalogClient,
    CatalogClient,
    ClientOptions,
    DeadlineExceededError,
    DecimalSign,
    ExportResult,
    FeedFormat,
    ImportResult,
    InvalidRequestError,
    NotFoundError,
    Progress,
    RetryOptions,
    RowProblem,
    UnavailableError,
)
from tests.support.fake_catalog import missing, stopping
from tests.support.fake_lens import status_of

NAME = "catalogs/shop/operations/o1"


@dataclass
class FakeTransfers(catalog_transfer_service_pb2_grpc.CatalogTransferServiceServicer, OperationsServicer):  # type: ignore[misc]
    """One operation, which is done at the third wait."""

    failure: status_pb2.Status | None = None
    away: int = 0
    endless: bool = False
    calls: list[Any] = field(default_factory=list)
    exported: bool = False

    def operation(self) -> lro.Operation:
        waits = sum(isinstance(call, lro.WaitOperationRequest) for call in self.calls)
        done = waits >= 3 + self.away and not self.endless
        made = lro.Operation(name=NAME, done=done)
        problem = pb.RowProblem(row=2, product_id="p", description="no image", skipped=True)
        made.metadata.Pack(
            pb.TransferMetadata(rows_total=3, rows_read=waits, rows_written=1, problem_count=1, problems=[problem])
        )
        if done and self.failure is not None:
            made.error.CopyFrom(self.failure)
        elif done:
            imported = pb.ImportProductsResponse(product_count=2, revision="3-0123456789ab")
            exported = pb.ExportProductsResponse(product_count=2, image_count=4, revision="3-0123456789ab")
            made.response.Pack(exported if self.exported else imported)
        return made

    async def ImportProducts(self, request: Any, context: Any) -> lro.Operation:  # noqa: N802
        return await self.answer(request, context)

    async def ExportProducts(self, request: Any, context: Any) -> lro.Operation:  # noqa: N802
        return await self.answer(request, context)

    async def GetOperation(self, request: Any, context: Any) -> lro.Operation:  # noqa: N802
        return await self.answer(request, context)

    async def WaitOperation(self, request: Any, context: Any) -> lro.Operation:  # noqa: N802
        return await self.answer(request, context)

    async def CancelOperation(self, request: Any, context: Any) -> Empty:  # noqa: N802
        await self.answer(request, context)
        return Empty()

    async def ListOperations(self, request: Any, context: Any) -> lro.ListOperationsResponse:  # noqa: N802
        token = "" if request.page_token else "next"
        return lro.ListOperationsResponse(operations=[await self.answer(request, context)], next_page_token=token)

    async def answer(self, request: Any, context: Any) -> lro.Operation:
        self.calls.append(request)
        if getattr(request, "uri", "") == "away.csv" or (self.away and len(self.calls) == 2):
            await context.abort_with_status(rpc_status.to_status(stopping()))
        if getattr(request, "name", NAME) not in (NAME, "catalogs/shop"):
            await context.abort_with_status(rpc_status.to_status(missing()))
        return self.operation()


@asynccontextmanager
async def serving(fake: FakeTransfers) -> AsyncIterator[ClientOptions]:
    server = grpc.aio.server()
    catalog_transfer_service_pb2_grpc.add_CatalogTransferServiceServicer_to_server(fake, server)
    add_OperationsServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield ClientOptions(f"127.0.0.1:{port}", retry=RetryOptions(first_delay_s=0.001))
    finally:
        await server.stop(None)


async def test_an_import_is_watched_to_its_end_and_a_lost_question_is_repeated() -> None:
    fake, seen = FakeTransfers(away=1), list[Progress]()
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        started = await client.transfers.import_feed("shop", "daily.csv", decimal_sign=DecimalSign.COMMA)
        assert (started.name, started.done, started.result) == (NAME, False, None)
        done = await client.transfers.wait(started, on_progress=seen.append)
    assert done.result == ImportResult(2, "3-0123456789ab")
    assert [each.rows_read for each in seen] == [2, 3, 4]
    assert seen[0].problems == (RowProblem(2, "p", "no image", True),)
    assert (fake.calls[0].parent, fake.calls[0].uri, fake.calls[0].decimal_sign) == (
        *("catalogs/shop", "daily.csv"),
        pb.DECIMAL_SIGN_COMMA,
    )


async def test_an_operation_that_failed_raises_its_own_error() -> None:
    fake = FakeTransfers(failure=status_of(grpc.StatusCode.INVALID_ARGUMENT, "no row can be used"))
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        with pytest.raises(InvalidRequestError, match="no row can be used"):
            await client.transfers.wait(NAME)


async def test_a_wait_ends_at_its_timeout_and_the_operation_can_be_cancelled() -> None:
    fake = FakeTransfers(endless=True)
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        with pytest.raises(DeadlineExceededError, match="it goes on"):
            await client.transfers.wait(NAME, timeout_s=0.05)
        await client.transfers.cancel(NAME)
        assert isinstance(fake.calls[-1], lro.CancelOperationRequest)
        with pytest.raises(NotFoundError):
            await client.transfers.get("catalogs/shop/operations/none")
        assert [each.name async for each in client.transfers.list("shop")] == [NAME, NAME]


async def test_a_start_is_not_repeated_and_wrong_values_are_not_sent() -> None:
    fake = FakeTransfers()
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        with pytest.raises(UnavailableError):
            await client.transfers.import_feed("shop", "away.csv")
        assert len(fake.calls) == 1
        for call, name in (
            (client.transfers.import_feed("shop", ""), "uri"),
            (client.transfers.export("shop", "a.csv", format="csv"), "format"),  # type: ignore[arg-type]
            (client.transfers.export("shop", "a.csv", revision=-1), "revision"),
            (client.transfers.wait(5), "operation"),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidRequestError) as caught:
                await call
            assert caught.value.violations[0].field == name
    assert len(fake.calls) == 1


async def test_the_blocking_client_exports_and_waits() -> None:
    fake = FakeTransfers(exported=True)

    def use(options: ClientOptions) -> None:
        with CatalogClient(options) as client:
            started = client.transfers.export("shop", "shop.jsonl", format=FeedFormat.JSONL, embeddings=True)
            assert client.transfers.wait(started).result == ExportResult(2, 4, "3-0123456789ab")
            assert client.transfers.get(NAME).done
            assert [each.name for each in client.transfers.list("shop")] == [NAME, NAME]
            client.transfers.cancel(NAME)

    async with serving(fake) as target:
        await asyncio.to_thread(use, target)
    assert (fake.calls[0].format, fake.calls[0].embeddings) == (pb.FEED_FORMAT_JSONL, True)
