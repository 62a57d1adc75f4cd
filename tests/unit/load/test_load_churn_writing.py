"""Streams of a written catalog: each has its own products, also one that is later than the next one."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

from load_tests.catalog_churn.writing import Made, Products, Writing, write
from sightline_client import CatalogProduct

IDS = 3


class LateClient:
    """Reads the first stream only when the second one has ended."""

    def __init__(self) -> None:
        self.streams: list[list[str]] = []
        self._second_ended = asyncio.Event()

    async def upsert(self, catalog: str, products: AsyncIterable[CatalogProduct]) -> AsyncIterator[Any]:
        ids: list[str] = []
        self.streams.append(ids)
        first = len(self.streams) == 1
        if first:
            await self._second_ended.wait()
        async for product in products:
            ids.append(str(product.id))
            yield SimpleNamespace(index=len(ids) - 1, error=None)
        if not first:
            self._second_ended.set()


def made(number: int) -> Made:
    product = SimpleNamespace(id=f"p{number % IDS}")
    return Made(number, number, cast(CatalogProduct, product))


async def test_a_stream_that_is_late_has_each_id_once() -> None:
    client, writing = LateClient(), Writing()
    async with asyncio.timeout(60):
        await write(cast(Any, client), Products(made, count(7), IDS), 1000.0, 0.006, writing)
    assert [sorted(stream) for stream in client.streams] == [["p0", "p1", "p2"]] * 2
    assert (len(writing.waits_s), writing.errors) == (6, [])
