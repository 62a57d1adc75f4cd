"""The catalogs that the parent has laid out for its workers.

Rule: a catalog that is opened again is for workers to come; those that run keep what they have mapped, whose memory is
freed with the last of them.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from sightline_server.app.catalogs import naming
from sightline_server.domain.embedders import Embedders
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.replica import description_of
from sightline_server.index.shared import SharedCatalog, share_catalog


class SharedCatalogs:
    """Satisfies `app.reload.Shelf`."""

    def __init__(self, folders: Mapping[str, Path], embedders: Embedders) -> None:
        self.folders = folders
        self._embedders = embedders
        self._shared: dict[str, SharedCatalog] = {}

    @property
    def shared(self) -> tuple[SharedCatalog, ...]:
        """The catalogs that a worker inherits when it starts now."""
        return tuple(self._shared.values())

    async def open_all(self) -> None:
        """Lays every catalog out. Raises `SightlineError`."""
        with ExitStack() as undo:
            undo.callback(self.close)
            for name in self.folders:
                with naming(name, self.folders):
                    await self.open(name)
            undo.pop_all()

    def identity(self, name: str) -> tuple[str, str]:
        """See `Shelf`."""
        return self._shared[name].revision, self._shared[name].built_at

    def is_living(self, name: str) -> bool:
        """See `Shelf`: workers never write."""
        return False

    async def open(self, name: str) -> None:
        """See `Shelf`."""
        opened = await share_catalog(self.folders[name], name, self._embedders)
        before = self._shared.get(name)
        self._shared[name] = opened
        if before is not None:
            before.close()

    def close(self) -> None:
        """Frees every catalog."""
        for shared in self._shared.values():
            shared.close()
        self._shared.clear()


class CopyOfWorkers:
    """Satisfies `app.following.Operations` for a followed catalog whose operations each worker applies for itself.

    `outdated` is true from a copy that does not continue the one before, even under the same name, until the workers
    are replaced: those that run have operations that are not its own.
    """

    def __init__(self, folder: Path) -> None:
        self._before = description_of(folder)
        self.outdated = False

    @property
    def in_step(self) -> bool:
        """See `Operations`: workers say so themselves."""
        return True

    def taken(self, description: Description) -> None:
        """See `Operations`."""
        if self._before is not None and not description.continues(self._before):
            self.outdated = True
        self._before = description
