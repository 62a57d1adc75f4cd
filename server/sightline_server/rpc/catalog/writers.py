"""The writers of a server's catalogs, by the pass of a call."""

from collections.abc import Mapping, Sequence

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalogs import unknown_catalog
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import CatalogWriter, ImageEmbedders


class CatalogWriters:
    """Catalogs that are written while they are searched; empty until the server has opened them."""

    def __init__(self) -> None:
        self._writers: dict[str, CatalogWriter] = {}
        self._images: ImageEmbedders | None = None
        self.replicas: frozenset[str] = frozenset()
        """The catalogs of this server that follow another writer."""

    def publish(self, writers: Mapping[str, CatalogWriter], images: ImageEmbedders) -> None:
        """Offers `writers`, by name, and `images`, which embed what they write."""
        self._writers = dict(writers)
        self._images = images

    def add(self, name: str, writer: CatalogWriter) -> None:
        """Offers the writer of a new catalog."""
        self._writers[name] = writer

    def remove(self, name: str) -> None:
        """Offers the writer of a catalog no longer; calls that have it keep it."""
        self._writers.pop(name, None)

    @property
    def images(self) -> ImageEmbedders:
        """The embedders of images; admission lets no call in before it is there."""
        assert self._images is not None, "admission lets no call in before the writers are published"
        return self._images

    @property
    def names(self) -> Sequence[str]:
        """The names, in order."""
        return sorted(self._writers)

    def named(self, name: str) -> CatalogWriter:
        """The writer of a catalog of `names`."""
        return self._writers[name]

    def of(self, granted: CatalogPass) -> CatalogWriter:
        """The writer of the pass's catalog. Raises `SightlineError` of kind UNKNOWN_CATALOG or CATALOG_IS_REPLICA."""
        found = self._writers.get(granted.catalog)
        if found is None:
            raise is_replica() if granted.catalog in self.replicas else unknown_catalog()
        return found


def is_replica() -> SightlineError:
    """The refusal of calls that concern a catalog of another writer."""
    message = (
        "catalog: on this server it is a replica, which follows the revisions of its writer and takes no writes; send "
        "the call to the CatalogService of the writer"
    )
    return SightlineError(ErrorKind.CATALOG_IS_REPLICA, message, field="catalog")
