"""A replica of a site as a process serves it: its copy, its operations, and what searches find."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from sightline_server.app.catalogs import new_registry
from sightline_server.app.following import CatalogFollower
from sightline_server.app.following_operations import FollowedCatalogs
from sightline_server.app.reload import CatalogReloader, RegistryShelf
from sightline_server.index.choice.choosing import DEFAULT_POLICY
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.registry import Registry
from sightline_server.index.shared import open_shared, share_catalog
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, unit_vectors
from tests.support.passes import pass_to
from tests.support.replicas import Site

MOST = 100


@dataclass
class Followed:
    """The copy of `site`, served."""

    site: Site
    registry: Registry
    catalogs: FollowedCatalogs
    follower: CatalogFollower
    metrics: Metrics = field(default_factory=Metrics)

    async def check(self) -> None:
        """One second of a replica: its revision, then the operations."""
        await self.follower.check()
        await self.check_operations()

    async def check_operations(self) -> None:
        """The operations alone, as while a revision is fetched and opened."""
        await self.catalogs.followers["shop"].check()

    async def content(self) -> dict[str, str]:
        """The title of each product that a search finds, by its id."""
        with self.registry.lease(pass_to("shop")) as snapshot:
            (found,) = await snapshot.nearest(unit_vectors(1, 0), MOST)
            products = snapshot.products([each.row for each in found])
            assert len(found) == snapshot.product_count, "counted as they are found"
        return {each.id: each.title for each in products}

    @property
    def revision(self) -> str:
        """The revision that answers name."""
        return self.registry.current("shop").revision

    def value(self, name: str, **labels: str) -> float:
        """A metric of the catalog."""
        found = self.metrics.registry.get_sample_value(f"sightline_{name}", {"catalog": "shop", **labels})
        assert found is not None
        return found


@asynccontextmanager
async def following(site: Site, worker: int | None = None) -> AsyncIterator[Followed]:
    """Serves the copy of `site`, which is there; as that `worker` does, from memory that its parent has laid out.

    The parent would replace it for each revision; here it opens the next one itself.
    """
    metrics = Metrics()
    observer = CatalogMetrics(metrics)

    async def mapped(name: str, device: DeviceThread) -> CatalogSnapshot:
        shared = await share_catalog(site.copy, name, SPEC)
        try:
            return await open_shared(shared, device, sharers=2)
        finally:
            shared.close()

    async with AsyncExitStack() as stack:
        registry, device = new_registry(stack, observer)
        folders = {"shop": site.copy}
        catalogs = FollowedCatalogs(
            *(folders, {"shop": site.share}, DEFAULT_POLICY, metrics.replication),
            open_base=None if worker is None else mapped,
            worker=worker,
        )
        await catalogs.publish(registry, device, SPEC)
        shelf = RegistryShelf(folders, registry, device, SPEC, followed=catalogs)
        reload = CatalogReloader(shelf, observer).reload
        follower = CatalogFollower("shop", site.replica, metrics.replication, reload, catalogs.followers["shop"])
        yield Followed(site, registry, catalogs, follower, metrics)
