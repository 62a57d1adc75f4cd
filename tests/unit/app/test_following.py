"""A server that follows: which revision is served, what the metrics say, and what stays when a source fails."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sightline_server.app import following as following_module
from sightline_server.app.catalogs import new_registry
from sightline_server.app.following import CatalogFollower, fetch_missing, keep_following, renew_unservable
from sightline_server.app.publishing import CatalogPublishing
from sightline_server.app.reload import CatalogReloader, RegistryShelf
from sightline_server.control.protocol import Reloaded
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.settings import Settings
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, unit_vectors
from tests.support.generations import OTHER, prepare
from tests.support.lens import until
from tests.support.passes import pass_to
from tests.support.replicas import Site


class Served:
    """The copy of a site, served by a registry, and its follower."""

    def __init__(self, site: Site, registry: Registry, reloader: CatalogReloader, metrics: Metrics) -> None:
        self.site, self.registry, self.reloader, self.metrics = site, registry, reloader, metrics
        self.fails = False
        self.follower = CatalogFollower("shop", site.replica, metrics.replication, self.reload)

    async def reload(self, names: Sequence[str]) -> Sequence[Reloaded]:
        if self.fails:
            return [Reloaded("shop", self.revision, self.revision, "no memory")]
        return await self.reloader.reload(names)

    @property
    def revision(self) -> str:
        return self.registry.current("shop").revision

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"sightline_{name}", {"catalog": "shop", **labels})
        assert found is not None
        return found

    def failures(self, reason: str) -> float:
        return self.value("replica_failures_total", reason=reason)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    site = Site(tmp_path)
    site.build()
    site.change("first")
    site.publish()
    site.follow()
    metrics = Metrics()
    observer = CatalogMetrics(metrics)
    async with AsyncExitStack() as stack:
        registry, device = new_registry(stack, observer)
        registry.publish(await open_snapshot(site.copy, "shop", SPEC, device))
        shelf = RegistryShelf({"shop": site.copy}, registry, device, SPEC)
        yield Served(site, registry, CatalogReloader(shelf, observer), metrics)


async def test_new_revision_is_served_after_a_check(served: Served) -> None:
    second = served.site.change("second", 91)
    served.site.publish()
    await served.follower.check()
    assert served.revision == second
    with served.registry.lease(pass_to("shop")) as snapshot:
        (found,) = await snapshot.nearest(unit_vectors(1, 91), 1)
        assert found[0].product_id == "second"
    assert served.value("replica_lag_seconds") == 0


async def test_replica_that_is_behind_says_since_when(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await served.follower.check()
    in_step = served.value("replica_in_step_timestamp_seconds")
    first = served.revision
    served.site.change("second", 91)
    before = set(served.site.objects())
    served.site.publish()
    damaged = next(path for path in served.site.objects() if path not in before)
    damaged.write_bytes(b"\0" * damaged.stat().st_size)
    monkeypatch.setattr("sightline_server.telemetry.replication.time.time", lambda: in_step + 3600)
    for _ in range(3):
        await served.follower.check()
    assert served.revision == first
    assert served.value("replica_in_step_timestamp_seconds") == in_step
    assert 3500 < served.value("replica_lag_seconds") <= 3600
    assert served.failures("damaged") == 3
    assert served.failures("source_away") == 0


async def test_source_that_is_away_stops_the_clock_and_nothing_else(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await served.follower.check()
    in_step = served.value("replica_in_step_timestamp_seconds")
    served.site.share.rename(served.site.folder / "elsewhere")
    with caplog.at_level("INFO"):
        for _ in range(3):
            await served.follower.check()
        assert caplog.text.count("stays at its revision (source_away)") == 1, "each reason is logged once"
        assert served.value("replica_in_step_timestamp_seconds") == in_step
        assert served.value("replica_lag_seconds") == 0
        (served.site.folder / "elsewhere").rename(served.site.share)
        await served.follower.check()
        assert "in step with its source again" in caplog.text
    assert served.value("replica_in_step_timestamp_seconds") > in_step


async def test_copy_that_could_not_be_opened_is_opened_by_a_later_check(served: Served) -> None:
    await served.follower.check()
    first = served.revision
    second = served.site.change("second", 91)
    served.site.publish()
    served.fails = True
    await served.follower.check()
    assert (served.site.revision, served.revision) == (second, first)
    assert served.failures("reload") == 1
    assert served.value("replica_lag_seconds") > 0
    served.fails = False
    await served.follower.check()
    assert served.revision == second


async def test_copy_that_cannot_be_opened_is_replaced_by_a_later_revision(served: Served) -> None:
    served.site.change("second", 91)
    served.site.publish()
    served.fails = True
    await served.follower.check()
    third = served.site.change("third", 92)
    served.site.publish()
    await served.follower.check()
    assert served.site.revision == third
    assert served.failures("reload") == 2
    served.fails = False
    await served.follower.check()
    assert served.revision == third


async def test_unexpected_error_ends_no_follower(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(served.site.replica, "step", fail)
    await served.follower.check()
    assert served.failures("other") == 1


def settings(site: Site, **shop: object) -> Settings:
    return Settings.model_validate({"catalogs": {"shop": {"path": site.copy, "follow": site.share, **shop}}})


async def test_missing_copy_is_fetched_before_the_start(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.raises(SightlineError, match="nothing is published"):
        await fetch_missing(settings(site))
    site.build()
    site.publish()
    await fetch_missing(settings(site))
    assert len(site.ids()) == 5
    site.change("second")
    site.publish()
    await fetch_missing(settings(site))
    assert len(site.ids()) == 5, "the follower takes later ones, once it is known what is served"


async def test_folder_of_another_catalog_is_refused_at_the_start(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.build()
    site.publish()
    with pytest.raises(SightlineError, match="is not a replica") as caught:
        await fetch_missing(settings(site, path=site.shop))
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize("change", ["embedder", "empty"])
async def test_revision_that_this_server_cannot_serve_leaves_its_copy(
    served: Served, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(following_module, "EVERY_S", 0.01)
    first, site = served.revision, served.site
    with LivingCatalog(site.shop) as living:
        if change == "embedder":
            living.store.rollback(prepare(site.shop, living, OTHER).number)
        else:
            living.delete([*(f"p{n}" for n in range(5)), "first"])
            living.checkpoint()
    site.publish()
    async with AsyncExitStack() as stack:
        keep_following(stack, settings(site), SPEC, served.metrics.replication, served.reload)
        await until(lambda: served.failures("embedder") > 0)
    assert (site.revision, served.revision) == (first, first)


async def test_copy_of_another_embedder_is_replaced_at_the_start_where_the_published_revision_can_be_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)
    site.build()
    site.publish()
    await fetch_missing(settings(site))
    first = site.revision
    await renew_unservable(settings(site), SPEC)
    assert "cannot be served" not in caplog.text
    await renew_unservable(settings(site), OTHER)
    assert site.revision == first, "the published revision is of the same embedder"
    with LivingCatalog(site.shop) as living:
        living.store.rollback(prepare(site.shop, living, OTHER).number)
    site.publish()
    await renew_unservable(settings(site), SPEC)
    assert site.revision == first, "the copy can be served, and the published revision cannot"
    await renew_unservable(settings(site), OTHER)
    assert site.revision != first
    assert open_catalog(site.copy, OTHER).facts.embedder == OTHER
    site.share.rename(site.folder / "elsewhere")
    await renew_unservable(settings(site), SPEC)
    assert "nor can the published revision" in caplog.text


async def test_publishing_says_when_the_current_revision_was_published(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site, metrics = Site(tmp_path), Metrics()
    site.build()
    publishing = CatalogPublishing("shop", site.publisher, metrics.replication)

    def published_at() -> float | None:
        return metrics.registry.get_sample_value("sightline_publication_in_step_timestamp_seconds", {"catalog": "shop"})

    site.share.rmdir()
    begun = published_at()
    with caplog.at_level("INFO"):
        for _ in range(2):
            await publishing.check()
    assert caplog.text.count("catalog shop is not published") == 1
    assert published_at() == begun
    site.share.mkdir()
    await publishing.check()
    assert begun is not None
    assert (published_at() or 0.0) > begun
    assert site.follow() is not None
