"""Catalogs that callers create and delete, through the real channel of a server with both listeners."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import pytest
from typer.testing import CliRunner

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import lens_service_pb2
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline.v1.lens_service_pb2_grpc import LensServiceStub
from sightline_server.app import catalog_changes
from sightline_server.app import serving as serving_module
from sightline_server.app.catalog_changes import ChangingCatalogs
from sightline_server.app.checks import check_settings
from sightline_server.app.running import Running
from sightline_server.app.writing import listen_for_writes
from sightline_server.app.written import WrittenCatalogs
from sightline_server.cli.catalog import app
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.jobs.job import JobKind, JobResult, JobState
from sightline_server.jobs.progress import Tracker
from sightline_server.settings import Settings
from tests.support.catalog_service import make_shop, png, product, reason, upsert
from tests.support.lens import FakeEngine, details_of, until

PHOTO = png(150)
BOX = {"box": {"x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1}}


@dataclass
class Shops:
    """A server with the catalog default and a folder for new ones, and the stubs of its two listeners."""

    stub: Any
    lens: Any
    engine: FakeEngine
    running: Running
    written: Any
    door: Any
    folder: Path

    async def create(self, name: str, **fields: Any) -> pb.Catalog:
        request = pb.CreateCatalogRequest(catalog_id=name, **fields)
        response: pb.CreateCatalogResponse = await self.stub.CreateCatalog(request, timeout=30)
        return response.catalog

    async def delete(self, name: str, **fields: Any) -> None:
        await self.stub.DeleteCatalog(pb.DeleteCatalogRequest(name=f"catalogs/{name}", **fields), timeout=30)

    async def put(self, name: str, product_id: str) -> str:
        """The outcome of one upsert."""
        sent = upsert(product(product_id, pb.ProductImage(data=PHOTO, link="x.png")), parent=f"catalogs/{name}")
        [status] = [each.status async for each in self.stub.UpsertProducts(iter([sent]), timeout=30)]
        return reason(status)

    async def search(self, name: str) -> list[str]:
        """The ids that a search of the whole photo returns."""
        request = lens_service_pb2.SearchRequest(catalog=name, photo=PHOTO, regions=[BOX], max_products=20)
        events = [event async for event in self.lens.Search(request, timeout=30)]
        [results] = [event.results for event in events if event.HasField("results")]
        return [each.product.id for each in results.products]

    async def names(self) -> list[str]:
        """The names that ListCatalogs returns."""
        found = await self.stub.ListCatalogs(pb.ListCatalogsRequest())
        return [each.name.removeprefix("catalogs/") for each in found.catalogs]

    def series(self, name: str) -> set[str]:
        """The metrics that have a series of this catalog."""
        families = self.door._calls._metrics.registry.collect()
        return {each.name for family in families for each in family.samples if each.labels.get("catalog") == name}


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


async def refused(call: Awaitable[Any]) -> tuple[str, str, str]:
    """The code, the reason and the message of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    return error.code().name, details_of(error)["ErrorInfo"].reason, error.details() or ""


@asynccontextmanager
async def shops(
    folder: Path, caplog: pytest.LogCaptureFixture, engine: FakeEngine | None = None, **server: Any
) -> AsyncIterator[Shops]:
    """The server over the catalog `folder/shop` and the new ones in `folder/made`."""
    engine = engine or FakeEngine()
    (folder / "made").mkdir(exist_ok=True)
    shop = folder / "shop" if (folder / "shop").exists() else make_shop(folder)
    ports = dict.fromkeys(("listen", "metrics_listen", "catalog_listen"), "127.0.0.1:0")
    wanted = {**ports, "catalogs_folder": folder / "made", **server}
    settings = Settings(catalog={"path": shop}, server=wanted)  # type: ignore[arg-type]
    parts = dict[str, Any]()

    @asynccontextmanager
    async def engine_session(settings: Settings, events: object) -> AsyncIterator[FakeEngine]:
        yield engine

    async def listen(stack: Any, front: Any, core: Any, door: Any, written: Any, made: Any) -> None:
        parts.update(door=door, written=written)
        await listen_for_writes(stack, front, core, door, written, made)

    with patch.multiple(serving_module, engine_session=engine_session, listen_for_writes=listen):
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(serving_module.serving(settings))
            lines = [each.getMessage() for each in caplog.records]
            [*_, address] = [each.split()[-1] for each in lines if each.startswith("CatalogService listens on ")]
            catalogs, lens = [
                await stack.enter_async_context(grpc.aio.insecure_channel(each)) for each in (address, running.address)
            ]
            stubs = CatalogServiceStub(catalogs), LensServiceStub(lens)
            yield Shops(*stubs, engine, running, parts["written"], parts["door"], folder / "made")


async def test_a_new_catalog_is_written_searched_and_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with shops(tmp_path, caplog) as served:
        planned = await served.create("shoes", validate_only=True)
        assert (planned.name, planned.embedder.dimension, await served.names()) == ("catalogs/shoes", 4, ["default"])
        created = await served.create("shoes")
        assert (created.name, created.product_count, created.revision_number) == ("catalogs/shoes", 0, 1)
        assert created.embedder == planned.embedder
        assert await served.names() == ["default", "shoes"]
        assert await served.search("shoes") == []
        assert await served.put("shoes", "s1") == "OK"
        assert await served.search("shoes") == ["s1"]
        assert "s1" not in await served.search("default")
        assert {"sightline_catalog_operations_total", "sightline_catalog_products"} <= served.series("shoes")
        assert [each.catalog for each in await served.running.reload_catalogs(["shoes"])] == ["shoes"]
    async with shops(tmp_path, caplog) as served:
        assert await served.search("shoes") == ["s1"]
        found = await served.stub.GetCatalog(pb.GetCatalogRequest(name="catalogs/shoes"))
        assert (found.catalog.product_count, found.catalog.pending_writes) == (1, 0)
        assert await served.search("") == await served.search("default")
        await served.delete("shoes", force=True)
    assert list((tmp_path / "made").glob("[!.]*")) == []


async def test_a_new_catalog_gets_the_embedder_that_it_asks_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide = EmbedderSpec("wide", "1", 24, 24, 6, sha256="a" * 64)
    async with shops(tmp_path, caplog, FakeEngine(embedder_wide=wide)) as served:
        first = served.engine.embedder
        wanted = {"first": "", "folder": "embedder-wide", "name": "wide", "id": wide.identity, "other": "embedder"}
        for name, embedder in wanted.items():
            spec = first if name in ("first", "other") else wide
            for planned in (True, False):
                made = await served.create(name, embedder=embedder, validate_only=planned)
                assert (made.embedder.id, made.embedder.dimension) == (spec.identity, spec.dimension)
        assert [await served.put(name, "p") for name in wanted] == ["OK"] * len(wanted)
        assert [await served.search(name) for name in wanted] == [["p"]] * len(wanted)
        assert len(served.engine.models["embedder-wide"].batches) > 0
        for planned in (True, False):
            refusal = await refused(served.create("no", embedder="secret", validate_only=planned))
            assert refusal[:2] == ("INVALID_ARGUMENT", "INVALID_REQUEST")
            assert wide.identity in refusal[2] and first.identity in refusal[2] and "secret" not in refusal[2]
        assert "no" not in await served.names()


async def test_a_deleted_catalog_is_gone_for_later_calls_and_ends_those_that_run_normally(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with shops(tmp_path, caplog) as served:
        await served.create("shoes")
        assert await served.put("shoes", "s1") == "OK"
        assert (await refused(served.delete("shoes")))[:2] == ("FAILED_PRECONDITION", "CATALOG_NOT_EMPTY")
        assert (await refused(served.delete("shoes", force=True, etag="other")))[:2] == ("ABORTED", "ETAG_MISMATCH")
        await served.delete("shoes", force=True, validate_only=True)
        assert await served.put("shoes", "s1") == "OK"
        upserts = served.stub.UpsertProducts()
        await upserts.write(upsert(product("s2", pb.ProductImage(data=PHOTO, link="x")), parent="catalogs/shoes"))
        await upserts.read()
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        embedder.started.clear()
        running = asyncio.create_task(served.search("shoes"))
        await embedder.started.wait()
        deleting = asyncio.create_task(served.delete("shoes", force=True))
        await until(lambda: "shoes" not in served.written.folders)
        assert (await refused(served.search("shoes")))[:2] == ("NOT_FOUND", "UNKNOWN_CATALOG")
        embedder.gate.set()
        assert len(await running) in (0, 2)
        await deleting
        await upserts.write(upsert(product("s3", pb.ProductImage(data=PHOTO, link="x")), parent="catalogs/shoes"))
        assert reason((await upserts.read()).status) == "UNKNOWN_CATALOG"
        upserts.cancel()
        calls = (served.search("shoes"), served.delete("shoes"), served.put("shoes", "s4"))
        assert [(await refused(call))[:2] for call in calls] == [("NOT_FOUND", "UNKNOWN_CATALOG")] * 3
        await until(lambda: served.series("shoes") <= {"sightline_filtered_searches_total"})
        assert await served.names() == ["default"]
        assert list(served.folder.glob("[!.]*")) == []
        assert (await served.create("shoes")).product_count == 0, "the name is free again"
        assert await served.search("shoes") == []


NAMES = ["", ".", "..", "../x", "a/b", "/tmp/x", ".hidden", "a b", "a\n", "a\x00", "é", "-a", "_a", "a" * 64, "a%2Fb"]


async def test_requests_that_cannot_be_right_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with shops(tmp_path, caplog) as served:
        for name in (*NAMES, "shop.partial-12"):
            for validate_only in (True, False):
                code, why, message = await refused(served.create(name, validate_only=validate_only))
                assert (code, why) == ("INVALID_ARGUMENT", "INVALID_REQUEST"), name
                assert "catalog_id" in message or "expected a letter" in message
        for name in NAMES:
            assert (await refused(served.delete(name, force=True)))[0] in ("INVALID_ARGUMENT", "NOT_FOUND"), name
        assert (await refused(served.delete("other")))[:2] == ("NOT_FOUND", "UNKNOWN_CATALOG")
        assert (await refused(served.delete("shoes", etag="e" * 200)))[0] == "INVALID_ARGUMENT"
        assert (await refused(served.delete("default", force=True)))[:2] == ("FAILED_PRECONDITION", "CONFIGURATION")
        assert (await refused(served.create("default")))[:2] == ("ALREADY_EXISTS", "CATALOG_EXISTS")
        (served.folder / "taken").mkdir()
        assert (await refused(served.create("taken")))[:2] == ("ALREADY_EXISTS", "CATALOG_EXISTS")
        outcomes = await asyncio.gather(*(served.create("twice") for _ in range(4)), return_exceptions=True)
        assert sum(isinstance(each, pb.Catalog) for each in outcomes) == 1
        assert await served.names() == ["default", "twice"]
        assert sorted(each.name for each in served.folder.iterdir()) == [".lock", "taken", "twice"]
        with patch.object(catalog_changes, "MOST_CATALOGS", 2):
            code, why, message = await refused(served.create("third"))
        assert (code, why) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert "the limit is 2" in message


async def test_without_a_folder_no_catalog_is_created(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with shops(tmp_path, caplog, catalogs_folder=None) as served:
        code, why, message = await refused(served.create("new"))
        assert (code, why) == ("FAILED_PRECONDITION", "CONFIGURATION")
        assert "server.catalogs_folder" in message


async def test_a_folder_that_cannot_be_written_leaves_everything_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with shops(tmp_path, caplog) as served:
        await served.create("kept")
        with patch("sightline_server.index.catalogs_folder.sync", side_effect=OSError(28, "no space")):
            for call in (served.create("new"), served.delete("kept")):
                code, _, message = await refused(call)
                assert code == "RESOURCE_EXHAUSTED"
                assert str(tmp_path) not in message
        with patch.object(WrittenCatalogs, "write", side_effect=SightlineError(ErrorKind.INTERNAL, "x")):
            assert (await refused(served.create("new")))[0] == "INTERNAL"
        assert await served.names() == ["default", "kept"]
        assert await served.put("kept", "k1") == "OK"
        assert await served.search("kept") == ["k1"]
        assert sorted(each.name for each in served.folder.iterdir()) == [".lock", "kept"]
        assert served.series("new") == set()
        assert (await served.create("new")).name == "catalogs/new"


async def test_a_change_goes_on_when_its_caller_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    create = ChangingCatalogs._create

    async def slow(self: ChangingCatalogs, name: str, embedder: EmbedderSpec) -> Any:
        begun.set()
        await go_on.wait()
        return await create(self, name, embedder)

    async with shops(tmp_path, caplog) as served:
        with patch.object(ChangingCatalogs, "_create", slow):
            call = asyncio.create_task(served.create("new"))
            await begun.wait()
            call.cancel()
            go_on.set()
            await until(lambda: "new" in served.door.writers.names)
            assert await served.search("new") == []


async def test_operations_on_a_deleted_catalog_are_cancelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def endless(tracker: Tracker) -> JobResult:
        await asyncio.Event().wait()
        raise AssertionError("it never ends by itself")

    async with shops(tmp_path, caplog) as served:
        jobs = served.door.transfers.jobs
        await served.create("shoes")
        job, other = (jobs.start(JobKind.IMPORT, name, endless) for name in ("shoes", "default"))
        await served.delete("shoes")
        assert (job.state, jobs.get(job.id), other.running) == (JobState.CANCELLED, None, True)


def test_what_a_crash_left_is_deleted_and_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    embedder = FakeEngine().embedder
    with CatalogsFolder(tmp_path) as folder:
        folder.create("kept", embedder)
        folder.create("half", embedder).rename(tmp_path / ".creating-half")
        folder.create("gone", embedder)
        folder.set_aside("gone")
        (tmp_path / "shop.partial-7").mkdir()
        (tmp_path / "notes").mkdir()
        with pytest.raises(SightlineError, match="another process"), CatalogsFolder(tmp_path):
            raise AssertionError("the folder has two owners")
    with CatalogsFolder(tmp_path) as folder:
        assert list(folder.catalogs()) == ["kept"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", "kept", "notes", "shop.partial-7"]
    with pytest.raises(SightlineError, match="is not a folder"), CatalogsFolder(tmp_path / "missing"):
        raise AssertionError("there is no such folder")


def test_a_folder_for_new_catalogs_without_the_service_is_refused(tmp_path: Path) -> None:
    settings = Settings(catalog={"path": make_shop(tmp_path)}, server={"catalogs_folder": tmp_path})  # type: ignore[arg-type]
    with pytest.raises(SightlineError, match=r"needs server\.catalog_listen"):
        check_settings(settings)


def test_an_empty_catalog_is_shown_by_the_commands_on_its_folder(tmp_path: Path) -> None:
    with CatalogsFolder(tmp_path) as folder:
        path = folder.create("new", FakeEngine().embedder, actor="shop")
    shown = CliRunner().invoke(app, ["info", str(path)])
    assert (shown.exit_code, "products    0" in shown.stdout) == (0, True), shown.stderr
    assert CliRunner().invoke(app, ["ids", str(path)]).exit_code == 0
    listed = CliRunner().invoke(app, ["revisions", "--catalog", str(path)]).stdout
    assert "build       0 products, 0 images  by shop" in listed


async def test_a_name_that_two_folders_have_is_refused_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with CatalogsFolder(tmp_path) as folder:
        folder.create("default", FakeEngine().embedder)
    with pytest.raises(SightlineError, match="two catalogs have the name default"):
        async with shops(tmp_path, caplog, catalogs_folder=tmp_path):
            raise AssertionError("the name means two catalogs")
