"""Milvus is killed under photos and deletions, and started again some seconds later.

    photos at a fixed rate, to the catalog in Milvus and to the one in the folder in turn; deletions in a third one
Rule: an open loop, so that a call that waits delays no later one. Nothing is repeated by the client.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from load_tests.milvus_scale.deleting import Deletions
from load_tests.milvus_scale.shops import FOLDER, REMOTE, Shops
from sightline_client import AsyncCatalogClient, AsyncClient, ClientOptions, FailureReason, RetryOptions, SightlineError
from tests.support.milvus_server import MilvusServer

CALM_S = 10.0
AWAY_S = 10.0
BACK_S = 90.0
"""The longest wait for the catalog after Milvus was started again."""
DEADLINE_S = 10.0
IN_A_ROW = 3
"""Answers after which the catalog counts as back."""


@dataclass(frozen=True, slots=True)
class Call:
    """One photo: its catalog, when it was due by the monotonic clock, and what became of it.

    `code` is OK, OBJECT_FAILED for an answer that lacks an object, or that of the error; `retry` says whether an error
    had RetryInfo.
    """

    catalog: str
    due: float
    code: str
    retry: bool
    seconds: float


@dataclass(slots=True)
class Struck:
    """The calls of the run, and its instants by the monotonic clock."""

    deletions: Deletions
    calls: list[Call] = field(default_factory=list)
    killed: float = 0.0
    started: float = 0.0
    """The start of Milvus after that."""
    answering: float = 0.0
    """The first answer to a client after that; collections may not be loaded yet."""
    deleted_before: int = 0
    """Deletions that were acknowledged before the kill."""
    deleted_until_start: int = 0

    @property
    def back(self) -> float:
        """The due time of the first photo after the start with which answers in a row began; infinity for none."""
        later = [call for call in ordered(self.calls) if call.catalog == REMOTE and call.due >= self.started]
        for place in range(len(later) - IN_A_ROW + 1):
            if all(call.code == "OK" for call in later[place : place + IN_A_ROW]):
                return later[place].due
        return float("inf")


def ordered(calls: Sequence[Call]) -> list[Call]:
    """The calls by their due time."""
    return sorted(calls, key=lambda call: call.due)


async def strike(shops: Shops, milvus: MilvusServer, photos: Sequence[bytes], rate: float) -> Struck:
    """Plays `rate` photos a second, kills Milvus, starts it again and waits until its catalog is back."""
    once, over = RetryOptions(attempts=1), asyncio.Event()
    async with (
        AsyncClient(ClientOptions(shops.target, retry=once)) as client,
        AsyncCatalogClient(ClientOptions(shops.catalog_target, retry=once)) as writer,
    ):
        struck = Struck(Deletions(client, writer, shops.embedder, shops.written))
        playing = asyncio.create_task(play(client, photos, rate, over, struck.calls))
        deleting = asyncio.create_task(struck.deletions.run(over))
        try:
            await asyncio.sleep(CALM_S)
            struck.deleted_before = len(struck.deletions.acknowledged)
            struck.killed = time.monotonic()
            milvus.kill()
            await asyncio.sleep(AWAY_S)
            struck.deleted_until_start = len(struck.deletions.acknowledged)
            struck.started = time.monotonic()
            await asyncio.to_thread(milvus.restart)
            struck.answering = time.monotonic()
            await until_back(struck)
            await asyncio.sleep(CALM_S)
        finally:
            over.set()
            await asyncio.gather(playing, deleting)
        await struck.deletions.look_for_all()
        return struck


async def until_back(struck: Struck) -> None:
    """Returns when the catalog is back and a product was deleted from the written one, or after `BACK_S`."""
    before = len(struck.deletions.acknowledged)
    with suppress(TimeoutError):
        async with asyncio.timeout(BACK_S):
            while struck.back == float("inf") or len(struck.deletions.acknowledged) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.25)


async def play(
    client: AsyncClient, photos: Sequence[bytes], rate: float, over: asyncio.Event, calls: list[Call]
) -> None:
    """Sends a photo at each of the instants until `over`, and waits for those that are under way."""
    began, running = time.monotonic(), set[asyncio.Task[None]]()
    for place in itertools.count():
        due = began + place / rate
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), max(0.0, due - time.monotonic()))
        if over.is_set():
            break
        # Each pair of calls has one photo.
        photo, catalog = photos[place // 2 % len(photos)], (REMOTE, FOLDER)[place % 2]
        running.add(asyncio.create_task(call(client, photo, catalog, due, calls)))
    await asyncio.gather(*running)


async def call(client: AsyncClient, photo: bytes, catalog: str, due: float, calls: list[Call]) -> None:
    """Sends one photo and adds its outcome to `calls`."""
    code, retry = "OK", False
    try:
        answer = await client.find(photo, catalog=catalog, timeout_s=DEADLINE_S)
        failures = [each.failure.reason for each in answer.objects if each.failure is not None]
        if any(reason is not FailureReason.PERSON for reason in failures):
            code = "OBJECT_FAILED"
    except SightlineError as error:
        code, retry = error.code, error.retry_after_s is not None
    calls.append(Call(catalog, due, code, retry, time.monotonic() - due))
