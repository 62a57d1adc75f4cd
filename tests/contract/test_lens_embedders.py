"""Catalogs of different embedders in one server: each is searched and written by its own, at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import numpy as np
import pytest

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline_server.app import serving as serving_module
from sightline_server.app.catalogs import publish_folders
from sightline_server.app.reload import CatalogReloader, RegistryShelf
from sightline_server.app.warm_up import warm_up
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.settings import Settings
from tests.support.asking import asked, events_of
from tests.support.catalog_service import png, product, reason, upsert
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.lens import FakeEngine, FakeSnapshot, Served, serving

WIDE = EmbedderSpec("wide", "1", 24, 24, 12, sha256="f" * 64)
NARROW = FakeEngine().embedder
SERVED = {"narrow": NARROW, "wide": WIDE}
"""The embedder of each catalog; `narrow` is the default one."""
LABEL = "crops/embedder-wide"


def two_embedders() -> FakeEngine:
    return FakeEngine(embedder_wide=WIDE)


def make_catalog(folder: Path, spec: EmbedderSpec, prefix: str, seed: int = 0) -> Path:
    """A catalog of five products whose ids begin with `prefix`."""
    vectors = [unit_vectors(1, seed + n, spec.dimension) for n in range(5)]
    rows = [row(f"{prefix}-{n}", vector) for n, vector in enumerate(vectors)]
    write_catalog(folder, rows, spec, replace=folder.exists())
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two catalogs of different dimension."""
    return {name: make_catalog(tmp_path / name, spec, name) for name, spec in SERVED.items()}


@asynccontextmanager
async def both_served(folders: dict[str, Path]) -> AsyncIterator[Served]:
    """A server of the folders' catalogs by two embedders."""
    catalogs = {name: {"path": str(path)} for name, path in folders.items()}
    async with serving(engine=two_embedders(), index=FakeSnapshot(), catalogs=catalogs) as served:
        embedders = served.engine.embedders
        await publish_folders(folders, served.catalogs, served.core.device, embedders)
        yield served


def ids(events: list[Any]) -> list[str]:
    return [each.product.id for event in events for each in event.results.products]


async def search(served: Served, catalog: str) -> list[Any]:
    return await events_of(served.search(asked(catalog=catalog, max_products=3)))


async def test_two_catalogs_of_different_dimension_are_searched_at_once(folders: dict[str, Path]) -> None:
    async with both_served(folders) as served:
        names = ["narrow", "wide"] * 6
        answers = []
        for _ in range(6):
            answers += await asyncio.gather(*(search(served, name) for name in SERVED))
        for name, events in zip(names, answers, strict=True):
            assert events[-1].done.embedder == SERVED[name].identity
            assert events[-1].done.catalog == name
            assert len(ids(events)) == 6 and all(each.startswith(name) for each in ids(events))
        models = served.engine.models
        assert sum(models["detector"].batches) == len(names), "the detector runs once for each photo"
        for name, role, size in (("narrow", "embedder", 16), ("wide", "embedder-wide", 24)):
            assert len(models[role].parts) == 2 * names.count(name), "two objects of each photo"
            assert {part.shape for part in models[role].parts} == {(size, size, 3)}
        assert served.value("batch_size_count", batcher="crops") == len(models["embedder"].batches)
        assert served.value("batch_size_count", batcher=LABEL) == len(models["embedder-wide"].batches)


async def test_an_embedder_that_is_slow_does_not_hold_up_the_other_catalog(folders: dict[str, Path]) -> None:
    async with both_served(folders) as served:
        slow = served.engine.models["embedder-wide"]
        slow.gate.clear()
        call = served.search(asked(catalog="wide"))
        await call.read()
        await slow.started.wait()
        assert ids(await search(served, "narrow"))
        slow.gate.set()
        assert all(each.startswith("wide") for each in ids(await events_of(call)))


async def test_a_search_that_began_ends_with_the_embedder_of_its_revision(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    async with both_served(folders) as served:
        slow = served.engine.models["embedder"]
        slow.gate.clear()
        call = served.search(asked(catalog="narrow"))
        await call.read()
        await slow.started.wait()
        changed = {"narrow": make_catalog(tmp_path / "changed", WIDE, "changed")}
        await publish_folders(changed, served.catalogs, served.core.device, served.engine.embedders)
        later = await search(served, "narrow")
        slow.gate.set()
        before = await events_of(call)
        assert before[-1].done.embedder == NARROW.identity and all(each.startswith("narrow") for each in ids(before))
        assert later[-1].done.embedder == WIDE.identity and all(each.startswith("changed") for each in ids(later))


async def test_a_reload_accepts_served_embedders_and_refuses_others(folders: dict[str, Path]) -> None:
    async with both_served(folders) as served:
        embedders = served.engine.embedders
        shelf = RegistryShelf(folders, served.catalogs, served.core.device, embedders)
        reloader = CatalogReloader(shelf, served.core.catalog_metrics)
        make_catalog(folders["narrow"], WIDE, "widened", seed=7)
        (report,) = await reloader.reload(["narrow"])
        assert report.error == "" and report.before != report.now
        assert (await search(served, "narrow"))[-1].done.embedder == WIDE.identity
        make_catalog(folders["narrow"], replace(WIDE, name="third", sha256="c" * 64), "third", seed=9)
        (report,) = await reloader.reload(["narrow"])
        for part in ("third@cccccccccccc", f"{NARROW.identity} (embedder)", f"{WIDE.identity} (embedder-wide)"):
            assert part in report.error
        assert all(each.startswith("widened") for each in ids(await search(served, "narrow")))


async def test_catalogs_of_an_embedder_that_is_not_served_end_the_start(folders: dict[str, Path]) -> None:
    async with serving() as served:
        with pytest.raises(SightlineError, match=r"catalog wide: .*dimension 12 in the catalog, 4 in the engine"):
            await publish_folders(folders, served.catalogs, DeviceThread(), served.engine.embedders)


async def test_every_embedder_is_warm_before_calls_come_in() -> None:
    async with serving(engine=two_embedders()) as served:
        await warm_up(served.pipeline, Settings())
        assert served.engine.models["embedder-wide"].batches == [1]
        (part,) = served.engine.models["embedder-wide"].parts
        assert part.shape == (24, 24, 3) and not part.any()


@asynccontextmanager
async def engine_of_the_test(settings: Settings, events: object, engine: FakeEngine) -> AsyncIterator[FakeEngine]:
    yield engine


async def test_images_of_a_product_are_embedded_by_the_embedder_of_its_catalog(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "catalog_listen": "127.0.0.1:0"}
    paths = {name: {"path": path} for name, path in folders.items()}
    settings = Settings(catalogs=paths, server=server)  # type: ignore[arg-type]
    engine = two_embedders()
    with patch.object(serving_module, "engine_session", partial(engine_of_the_test, engine=engine)):
        async with serving_module.serving(settings):
            [line] = [each for each in caplog.messages if each.startswith("CatalogService listens")]
            async with grpc.aio.insecure_channel(line.rpartition(" ")[2]) as channel:
                stub = CatalogServiceStub(channel)
                for name, spec in SERVED.items():
                    parent = f"catalogs/{name}"
                    sent = upsert(product("new", pb.ProductImage(data=png(150), link="new.png")), parent=parent)
                    (status,) = [each.status async for each in stub.UpsertProducts(iter([sent]))]
                    assert reason(status) == "OK"
                    found = await stub.GetCatalog(pb.GetCatalogRequest(name=parent))
                    assert (found.catalog.embedder.id, found.catalog.embedder.dimension) == (
                        spec.identity,
                        spec.dimension,
                    )
    for name, spec in SERVED.items():
        opened = open_catalog(folders[name], spec)
        place = opened.display["id"].to_pylist().index("new")
        expected = np.array([150, 150, 150] + [1] * (spec.dimension - 3), np.float64)
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(opened.vectors[opened.owners == place][0], expected, atol=2e-3)
    assert {part.shape for part in engine.models["embedder-wide"].parts} == {(24, 24, 3)}
