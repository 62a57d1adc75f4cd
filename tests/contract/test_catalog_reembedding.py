"""A served catalog embedded by another embedder while it is searched and written, through both listeners."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import pytest
from PIL import Image

from sightline.v1 import lens_service_pb2
from sightline.v1.lens_service_pb2_grpc import LensServiceStub
from sightline_client.catalog.aio import AsyncCatalogClient
from sightline_client.catalog.operations import Operation, ReembedResult
from sightline_client.catalog.products import CatalogProduct, ProductImage
from sightline_client.errors import InvalidRequestError, SightlineError
from sightline_client.options import ClientOptions
from sightline_server.app import serving as serving_module
from sightline_server.domain.models import EmbedderSpec
from sightline_server.ingest.build import BuildOptions, build_catalog
from sightline_server.ingest.embedding import engine_embed
from sightline_server.ingest.reembed.cache import CACHE
from sightline_server.settings import Settings
from tests.support.asking import events_of
from tests.support.catalogs import BUILT, LIMITS, write_feed
from tests.support.lens import FakeEngine, until

WIDE = EmbedderSpec("wide", "1", 24, 24, 12, sha256="f" * 64)
NARROW = FakeEngine().embedder
COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
TURNS = 2000


def photo(colour: tuple[int, int, int]) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, "PNG")
    return file.getvalue()


@dataclass
class Found:
    """The outcome of searches: the revision and the embedder of each answer, in order."""

    answers: list[tuple[str, str]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Shop:
    """A server of one catalog in three colours, by two embedders."""

    lens: Any
    client: AsyncCatalogClient
    engine: FakeEngine
    folder: Path

    async def search(self, name: str) -> tuple[str, str]:
        """The revision and the embedder of a search, whose nearest product must be `name`."""
        request = lens_service_pb2.SearchRequest(photo=photo(COLOURS[name]), max_products=1)
        events = await events_of(self.lens.Search(request, timeout=30))
        found = {each.product.id for event in events for each in event.results.products}
        assert found == {name}
        return events[0].accepted.catalog_revision, events[-1].done.embedder

    async def keep_searching(self, found: Found) -> None:
        """Searches until `found.stop`; an error or a wrong product ends it."""
        for turn in range(TURNS):
            if found.stop.is_set():
                return
            found.answers.append(await self.search(("red", "green", "blue")[turn % 3]))
        raise AssertionError("the test did not end the searches")

    async def reembed(self, **options: Any) -> ReembedResult:
        operation = await self.client.transfers.reembed("default", "wide", **options)
        done = await self.client.transfers.wait(operation, timeout_s=60)
        assert isinstance(done.result, ReembedResult)
        return done.result

    async def put(self, name: str, colour: tuple[int, int, int]) -> None:
        sent = [CatalogProduct(name, [ProductImage(photo(colour), f"{name}.png")])]
        assert [status.error async for status in self.client.upsert("default", sent)] == [None]


@asynccontextmanager
async def engine_of_the_test(settings: Settings, events: object, engine: FakeEngine) -> AsyncIterator[FakeEngine]:
    yield engine


@pytest.fixture
async def shop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Shop]:
    caplog.set_level("INFO")
    engine, images = FakeEngine(embedder_wide=WIDE), tmp_path / "images"
    images.mkdir()
    for name, colour in COLOURS.items():
        (images / f"{name}.png").write_bytes(photo(colour))
    feed = write_feed(images / "feed.csv", [{"id": name, "image_link": f"{name}.png"} for name in COLOURS])
    await build_catalog(BuildOptions(feed, tmp_path / "shop", LIMITS), NARROW, engine_embed(engine), BUILT)
    server = dict.fromkeys(("listen", "metrics_listen", "catalog_listen"), "127.0.0.1:0")
    settings = Settings(
        catalog={"path": tmp_path / "shop"},  # type: ignore[arg-type]
        server=server,  # type: ignore[arg-type]
        transfer={"import_folder": images},  # type: ignore[arg-type]
    )
    with patch.object(serving_module, "engine_session", partial(engine_of_the_test, engine=engine)):
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(serving_module.serving(settings))
            [line] = [each for each in caplog.messages if each.startswith("CatalogService listens")]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(running.address))
            options = ClientOptions(line.rpartition(" ")[2], timeout_s=30.0)
            client = await stack.enter_async_context(AsyncCatalogClient(options))
            yield Shop(LensServiceStub(channel), client, engine, tmp_path)


async def ended(shop: Shop, operation: Operation) -> SightlineError:
    with pytest.raises(SightlineError) as failed:
        await shop.client.transfers.wait(operation, timeout_s=60)
    return failed.value


async def test_a_catalog_changes_its_embedder_and_back_while_it_is_searched(shop: Shop) -> None:
    found = Found()
    searching = asyncio.create_task(shop.keep_searching(found))
    made = await shop.reembed()
    assert (made.revision_number, made.products, made.images, made.reused, made.left_out) == (2, 3, 3, 0, 0)
    before = await shop.search("red")
    assert before[1] == NARROW.identity, "a prepared revision is not searched"
    switched = await shop.client.activate("default", made.revision_number)
    assert await shop.search("red") == (switched.revision, WIDE.identity)
    await until(lambda: (switched.revision, WIDE.identity) in found.answers or searching.done())
    back = await shop.client.activate("default", 1)
    assert await shop.search("green") == (back.revision, NARROW.identity)
    await until(lambda: (back.revision, NARROW.identity) in found.answers or searching.done())
    found.stop.set()
    await searching
    changes = [each for each, last in zip(found.answers, [None, *found.answers], strict=False) if each != last]
    assert changes == [before, (switched.revision, WIDE.identity), (back.revision, NARROW.identity)]
    kinds = [(each.number, each.kind.value) async for each in shop.client.revisions("default")]
    assert kinds == [(4, "rollback"), (3, "rollback"), (2, "prepared"), (1, "build")]


async def test_writes_after_a_reembedding_are_not_lost_by_the_switch(shop: Shop) -> None:
    first = await shop.reembed()
    await shop.put("blue", (20, 30, 210))
    await shop.put("new", (120, 120, 120))
    assert [status.error for status in await shop.client.delete("default", ["green"])] == [None]
    with pytest.raises(SightlineError, match="2 products were written") as refused:
        await shop.client.activate("default", first.revision_number)
    assert (refused.value.code, refused.value.reason) == ("FAILED_PRECONDITION", "REVISION_OUTDATED")
    (shop.folder / "images" / "blue.png").write_bytes(photo((20, 30, 210)))
    (shop.folder / "images" / "new.png").write_bytes(photo((120, 120, 120)))
    again = await shop.reembed()
    assert (again.products, again.reused) == (3, 1)
    await shop.client.activate("default", again.revision_number)
    assert (await shop.search("blue"))[1] == WIDE.identity
    await shop.put("green", COLOURS["green"])
    assert (await shop.search("green"))[1] == WIDE.identity, "writes are embedded by the embedder of now"


async def test_an_unknown_embedder_is_refused_and_the_served_ones_are_named(shop: Shop) -> None:
    with pytest.raises(InvalidRequestError, match=r"tiny-embedder@eeeeeeeeeeee.*wide@ffffffffffff") as refused:
        await shop.client.transfers.reembed("default", "other")
    assert [each.field for each in refused.value.violations] == ["embedder"]
    operation = await shop.client.transfers.reembed("default", NARROW.identity)
    error = await ended(shop, operation)
    assert "the catalog at default is embedded by tiny-embedder@eeeeeeeeeeee already" in error.message


async def test_missing_images_are_named_in_the_progress_and_can_be_skipped(shop: Shop) -> None:
    (shop.folder / "images" / "green.png").unlink()
    operation = await shop.client.transfers.reembed("default", "wide")
    error = await ended(shop, operation)
    assert "1 of 3 images cannot be had" in error.message
    assert "no revision was prepared, and what was embedded is kept" in error.message
    progress = (await shop.client.transfers.get(operation)).progress
    assert (progress.rows_total, progress.rows_read, progress.problem_count) == (3, 3, 1)
    [problem] = progress.problems
    assert (problem.row, problem.product_id, problem.description) == (2, "green", "green.png: there is no such file")
    embedded = len(shop.engine.models["embedder-wide"].parts)
    error = await ended(shop, await shop.client.transfers.reembed("default", "wide", skip_missing=True))
    assert "--max-lost" in error.message
    made = await shop.reembed(skip_missing=True, max_lost_percent=50)
    assert (made.products, made.left_out) == (2, 1)
    assert len(shop.engine.models["embedder-wide"].parts) == embedded, "what was embedded was kept"
    await shop.client.activate("default", made.revision_number)
    assert (await shop.search("blue"))[1] == WIDE.identity


async def test_a_cancelled_reembedding_leaves_the_catalog_as_it_is(shop: Shop) -> None:
    slow = shop.engine.models["embedder-wide"]
    slow.started.clear()
    slow.gate.clear()
    operation = await shop.client.transfers.reembed("default", "wide")
    await asyncio.wait_for(slow.started.wait(), 30)
    await shop.client.transfers.cancel(operation)
    slow.gate.set()
    assert (await ended(shop, operation)).code == "CANCELLED"
    assert [each.number async for each in shop.client.revisions("default")] == [1]
    assert (await shop.reembed()).products == 3
    assert not (shop.folder / "shop" / CACHE).exists()


@pytest.mark.parametrize(
    ("options", "name"),
    [({"max_lost_percent": 101}, "max_lost_percent"), ({"max_lost_percent": -1}, "max_lost_percent")],
)
async def test_wrong_options_are_refused_before_anything_is_sent(
    shop: Shop, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await shop.client.transfers.reembed("default", "wide", **options)
    assert [each.field for each in refused.value.violations] == [name]
