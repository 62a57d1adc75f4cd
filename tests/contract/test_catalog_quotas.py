"""Quotas on CatalogService: the same counts as for searches, and streams of writes that use up their bytes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from sightline.v1 import catalog_service_pb2 as pb
from sightline_server.app.access import AccessFiles, open_access_files
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.settings import Settings
from tests.support.asking import asked, events_of, kinds
from tests.support.catalog_service import (
    SHOP,
    ServedCatalog,
    catalog_serving,
    make_shop,
    product,
    ready,
    reason,
    upsert,
)
from tests.support.clock import HandClock
from tests.support.lens import FakeSnapshot, details_of, failed, serving
from tests.support.tokens import add_key, bearer

CODE = grpc.StatusCode
RIGHTS = 'catalogs = ["*"]\nmethods = ["*"]\n'


class Shop:
    """The files of access with a quota for `app`, and a clock that a test moves."""

    def __init__(self, folder: Path, quota: str) -> None:
        self.folder, self.clock = folder, HandClock()
        self.policy, keys = folder / "policy.toml", folder / "keys.json"
        self.policy.write_text(f"[principals.app]\n{RIGHTS}quota = {{ {quota} }}\n")
        self.metadata = bearer(add_key(keys, "app"))
        settings = Settings(
            access={"policy_file": self.policy, "keys_file": keys},  # type: ignore[arg-type]
            catalogs={"default": {"path": folder}, "shop": {"path": folder / "shop"}},  # type: ignore[dict-item]
        )
        files = open_access_files(settings, quota_clock=self.clock)
        assert files is not None
        self.files: AccessFiles = files

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ServedCatalog]:
        """CatalogService under these files."""
        access = lambda names: self.files.access(CatalogNames(names.names))  # noqa: E731
        async with catalog_serving(make_shop(self.folder), access=access) as served:
            yield served

    async def read(self, served: ServedCatalog) -> grpc.StatusCode:
        """The code of a small read."""
        try:
            await served.stub.GetCatalog(pb.GetCatalogRequest(name=SHOP), metadata=self.metadata, timeout=30)
        except grpc.aio.AioRpcError as error:
            return CODE(error.code())
        return CODE.OK


async def answers(call: Any) -> tuple[list[str], grpc.aio.AioRpcError]:
    """The reasons of the statuses of a stream that must fail, and its error."""
    found = []
    try:
        while (response := await call.read()) is not grpc.aio.EOF:
            found.append(reason(response.status))
    except grpc.aio.AioRpcError as error:
        return found, error
    raise AssertionError(f"the call succeeded: {found}")


async def test_a_read_is_refused_with_its_details_when_the_quota_is_used_up(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "calls_per_minute = 60, calls_burst = 2")
    async with shop.serving() as served:
        assert [await shop.read(served) for _ in range(2)] == [CODE.OK, CODE.OK]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.GetCatalog(pb.GetCatalogRequest(name=SHOP), metadata=shop.metadata, timeout=30)
        details = details_of(caught.value)
        assert (caught.value.code(), details["ErrorInfo"].reason) == (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert set(details) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
        shop.clock.now += 1.1
        assert await shop.read(served) is CODE.OK


async def test_searches_and_catalog_calls_of_a_principal_are_counted_together(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "calls_per_minute = 60, calls_burst = 3, concurrent = 1")
    async with (
        shop.serving() as catalog,
        serving(index=FakeSnapshot("default"), access=shop.files.access) as lens,
    ):
        assert await shop.read(catalog) is CODE.OK
        lens.index.gate.clear()
        running = lens.search(asked(), metadata=shop.metadata)
        await lens.index.started.wait()
        assert await shop.read(catalog) is CODE.RESOURCE_EXHAUSTED, "one call is open, on the other listener"
        lens.index.gate.set()
        assert kinds(await events_of(running))[-1] == "done"
        assert await shop.read(catalog) is CODE.OK
        refusal = await failed(lens.search(asked(), metadata=shop.metadata))
        assert refusal.details["ErrorInfo"].metadata["quota"] == "calls_per_minute"


async def test_a_stream_of_writes_ends_when_its_bytes_are_used_up_and_answers_what_it_took(tmp_path: Path) -> None:
    size = len(upsert(product("new-0", ready("e" * 20))).SerializeToString())
    shop = Shop(tmp_path, f"bytes_per_minute = {size * 60}, bytes_burst = {int(size * 2.5)}")
    async with shop.serving() as served:

        def written(first: int) -> Any:
            sent = [upsert(product(f"new-{n}", ready(served.embedder, n))) for n in range(first, first + 9)]
            return served.stub.UpsertProducts(iter(sent), metadata=shop.metadata, timeout=60)

        statuses, error = await answers(written(0))
        assert error.code() is CODE.RESOURCE_EXHAUSTED
        details = details_of(error)
        assert details["ErrorInfo"].metadata["quota"] == "bytes_per_minute"
        assert details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
        assert statuses == ["OK"] * 3, "each message that began while no bytes were owed"
        assert await served.writer.count() == 5 + 3
        assert await shop.read(served) is CODE.RESOURCE_EXHAUSTED, "at its headers"
        shop.clock.now += 60
        assert await shop.read(served) is CODE.OK
