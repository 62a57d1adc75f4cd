"""Catalogs opened again while they are served: what changes, what stays, and what is said about it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sightline_server.app import reload as reload_module
from sightline_server.app.catalogs import new_registry
from sightline_server.app.reload import CatalogReloader, RegistryShelf, Reloading
from sightline_server.control.protocol import Reloaded
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support import catalogs
from tests.support.catalogs import BUILT, SPEC, row, unit_vectors, write_catalog
from tests.support.lens import until
from tests.support.passes import pass_to


def write(folder: Path, products: int, *, replace: bool = True) -> None:
    write_catalog(folder, [row(f"p{n}", unit_vectors(1, n)) for n in range(products)], replace=replace)


class Served:
    """Two catalogs, a and b, and what reloads them."""

    def __init__(self, folder: Path, registry: Registry, reloader: CatalogReloader, metrics: Metrics) -> None:
        self.a, self.b = folder / "a", folder / "b"
        self.registry, self.reloader, self.metrics = registry, reloader, metrics

    def revision(self, name: str) -> str:
        return self.registry.current(name).revision

    def outcome(self, name: str, outcome: str) -> float | None:
        labels = {"catalog": name, "outcome": outcome}
        return self.metrics.registry.get_sample_value("sightline_catalog_reloads_total", labels)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folders = {"a": tmp_path / "a", "b": tmp_path / "b"}
    metrics = Metrics()
    observer = CatalogMetrics(metrics)
    async with AsyncExitStack() as stack:
        registry, device = new_registry(stack, observer)
        for name, path in folders.items():
            write(path, 3)
            registry.publish(await open_snapshot(path, name, SPEC, device))
        reloader = CatalogReloader(RegistryShelf(folders, registry, device, SPEC), observer)
        yield Served(tmp_path, registry, reloader, metrics)


async def test_a_revision_of_a_changed_catalog_is_served_after_a_reload_and_so_is_its_rollback(served: Served) -> None:
    built = served.revision("a")
    with LivingCatalog(served.a) as living:
        living.upsert([row("new", unit_vectors(1, 90))])
        changed = living.checkpoint().name
    (report, other) = await served.reloader.reload()
    assert (report.before, report.now, report.error) == (built, changed, "")
    assert other.before == other.now
    with served.registry.lease(pass_to("a")) as snapshot:
        (found,) = await snapshot.nearest(unit_vectors(1, 90), 1)
        assert found[0].product_id == "new"
    with LivingCatalog(served.a) as living:
        living.store.rollback(1)
    await served.reloader.reload(["a"])
    with served.registry.lease(pass_to("a")) as snapshot:
        assert snapshot.product_count == 3
        (found,) = await snapshot.nearest(unit_vectors(1, 90), 3)
        assert "new" not in {neighbour.product_id for neighbour in found}


async def test_a_catalog_that_changed_is_replaced_and_the_other_stays(served: Served) -> None:
    old = served.revision("a")
    write(served.a, 5)
    with served.registry.lease(pass_to("a")) as held:
        reports = await served.reloader.reload()
        assert held.revision == old
        [found] = await held.nearest(unit_vectors(1), 10)
        assert len(found) == 3, "the old revision answers callers that hold it"
    new = served.revision("a")
    assert new != old
    b = served.revision("b")
    assert reports == [Reloaded("a", old, new), Reloaded("b", b, b)]
    assert served.registry.current("a").product_count == 5
    assert (served.outcome("a", "replaced"), served.outcome("b", "unchanged")) == (1, 1)
    assert (served.outcome("a", "failed"), served.outcome("b", "replaced")) == (0, 0)
    value = served.metrics.registry.get_sample_value
    await until(lambda: value("sightline_catalog_revisions", {"catalog": "a"}) == 1)
    assert value("sightline_catalog_info", {"catalog": "a", "revision": new}) == 1
    assert value("sightline_catalog_info", {"catalog": "a", "revision": old}) is None


async def test_only_the_named_catalogs_are_opened(served: Served) -> None:
    write(served.a, 5)
    write(served.b, 6)
    reports = await served.reloader.reload(["b", "b"])
    assert [report.catalog for report in reports] == ["b"]
    assert served.registry.current("a").product_count == 3
    assert served.registry.current("b").product_count == 6


async def test_equal_content_that_was_built_again_is_opened_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = BUILT + timedelta(days=1)
    monkeypatch.setattr(catalogs, "BUILT", later)
    write(served.a, 3)
    before = served.revision("a")
    [report] = await served.reloader.reload(["a"])
    assert (report.before, report.now, report.error) == (before, before, "")
    assert served.registry.current("a").built_at == later.isoformat(timespec="seconds")


def damage(folder: Path) -> str:
    for path in folder.rglob("*.lance"):
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    return "damaged"


def remove(folder: Path) -> str:
    folder.rename(folder.with_name("elsewhere"))
    return "there is no catalog at"


def other_embedder(folder: Path) -> str:
    write_catalog(folder, [row("p0", unit_vectors(1))], replace(SPEC, sha256="00" * 32), replace=True)
    return "another embedder"


@pytest.mark.parametrize("harm", [damage, remove, other_embedder])
async def test_a_catalog_that_cannot_be_opened_stays_as_it_is_served(
    served: Served, harm: Callable[[Path], str]
) -> None:
    write(served.a, 5)
    write(served.b, 5)
    before = served.revision("a")
    reason = harm(served.a)
    failed, replaced = await served.reloader.reload()
    assert (failed.catalog, failed.before, failed.now) == ("a", before, before)
    assert reason in failed.error
    assert served.revision("a") == before
    assert replaced.error == ""
    assert served.registry.current("b").product_count == 5
    assert served.outcome("a", "failed") == 1
    with served.registry.lease(pass_to("a")) as held:
        [found] = await held.nearest(unit_vectors(1), 10)
        assert len(found) == 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), reload_module.NO_MEMORY),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (RuntimeError("Faiss assertion failed: secret"), "the server's log says why"),
    ],
)
async def test_what_the_machine_refuses_is_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    async def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(reload_module, "open_snapshot", refuse)
    write(served.a, 5)
    [report] = await served.reloader.reload(["a"])
    assert reason in report.error
    assert "secret" not in report.error
    assert report.before == report.now == served.revision("a")


async def test_a_name_that_is_not_served_is_told(served: Served) -> None:
    assert await served.reloader.reload(["c"]) == [Reloaded("c", "", "", reload_module.UNKNOWN)]
    assert served.outcome("c", "failed") is None, "text of a caller is not a label"


async def test_reloads_at_once_wait_for_each_other(served: Served) -> None:
    write(served.a, 5)
    first, second = await asyncio.gather(served.reloader.reload(["a"]), served.reloader.reload(["a"]))
    assert first[0].before != first[0].now == second[0].before == second[0].now
    assert served.outcome("a", "replaced") == served.outcome("a", "unchanged") == 1


async def test_hangups_while_a_reload_runs_are_one_more(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    reloading = Reloading(None, served.reloader)
    with caplog.at_level("INFO"):
        for _ in range(20):
            reloading.on_hangup()
        await until(lambda: reloading._task is None)
    assert caplog.text.count("SIGHUP: 2 catalogs, 0 could not be opened") == 2
    for _ in range(2):
        reloading.on_hangup()
    reloading.end()
    await asyncio.sleep(0)
    assert caplog.text.count("SIGHUP: opening the catalogs again") == 2
