"""A writer's catalog, the folder that it is published to, and a replica of it, all on the disk of a test."""

from dataclasses import dataclass
from pathlib import Path

from sightline_server.index.catalog import open_catalog, read_identity
from sightline_server.index.living import LivingCatalog
from sightline_server.index.replication.publisher import Published, Publisher
from sightline_server.index.replication.reasons import NotFollowedError
from sightline_server.index.replication.replica import Replica
from tests.support.catalogs import row, unit_vectors, write_catalog


@dataclass
class Site:
    """The catalog `shop`, the folder `share`, and the copy that `replica` keeps, in `folder` or on the disk `disk`."""

    folder: Path
    disk: Path | None = None

    def __post_init__(self) -> None:
        self.shop, self.share, self.copy = self.folder / "shop", self.folder / "share", self.own_disk / "copy"
        self.share.mkdir(exist_ok=True)
        self.publisher = Publisher(self.shop, self.share, unused_s=0.0)
        self.replica = Replica(self.share, self.copy)

    @property
    def own_disk(self) -> Path:
        """The folder that has the copy."""
        return self.disk or self.folder

    def build(self, products: int = 5, *, replace: bool = False) -> None:
        """Builds the catalog, without a log."""
        write_catalog(self.shop, [row(f"p{n}", unit_vectors(1, n)) for n in range(products)], replace=replace)

    def change(self, product_id: str, seed: int = 90) -> str:
        """Adds a product; returns the new revision."""
        with LivingCatalog(self.shop, actor="test") as living:
            living.upsert([row(product_id, unit_vectors(1, seed))])
            return living.checkpoint().name

    def publish(self) -> Published | None:
        """Publishes what is new."""
        return self.publisher.step()

    def follow(self) -> str | None:
        """Takes what is published."""
        return self.replica.step()

    def refused(self) -> NotFollowedError:
        """The error of a replica that does not take what is published; its copy is whole, and as it was."""
        before = self.revision if self.copy.exists() else None
        try:
            taken = self.follow()
        except NotFollowedError as error:
            assert (self.revision if self.copy.exists() else None) == before
            if before is not None:
                open_catalog(self.copy)
            assert not list(self.own_disk.glob("copy.partial-*"))
            return error
        raise AssertionError(f"revision {taken} was taken")

    @property
    def revision(self) -> str:
        """The revision of the copy."""
        return read_identity(self.copy)[0]

    def ids(self) -> set[str]:
        """The ids of the copy's products, all of whose rows are read and checked."""
        return set(open_catalog(self.copy).display["id"].to_pylist())

    def objects(self) -> list[Path]:
        """The published files, the largest first."""
        return sorted((self.share / "objects").iterdir(), key=lambda path: -path.stat().st_size)
