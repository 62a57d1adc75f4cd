"""The catalogs that are written while they are searched."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate, StoredProduct
from sightline_server.domain.living import LivingFigures, WriteRefusal
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms


class LivingObserver(Protocol):
    """Is notified of what happens to catalogs that are written while they are searched; the telemetry implements it.

    Any thread may call it; it returns at once and raises nothing. Catalogs that were not `opened` are ignored, so a
    name that a caller wrote may be passed. `domain.living.UNOBSERVED` is one that does nothing.
    """

    def opened(self, catalog: str, figures: LivingFigures) -> None:
        """`catalog` can be written from now on: call this first."""

    def closed(self, catalog: str) -> None:
        """`catalog` is not written any more, as when it was removed."""

    def figures(self, catalog: str, figures: LivingFigures) -> None:
        """`catalog` has these sizes now; to be called every few seconds, also while nothing is written."""

    def acknowledged(self, catalog: str, operations: int, commit_s: float) -> None:
        """A group of `operations` is on the disk and published; its transaction took `commit_s` seconds."""

    def refused(self, catalog: str, reason: WriteRefusal) -> None:
        """A valid write was not taken; not for one that was wrong itself."""

    def checkpointed(self, catalog: str, seconds: float, revision: str) -> None:
        """A checkpoint, or a rollback, made `revision` in so many seconds; not where nothing was to be done."""

    def checkpoint_failed(self, catalog: str) -> None:
        """A checkpoint or a rollback failed; the log still has its operations."""

    def merged(self, catalog: str, seconds: float) -> None:
        """A new base index with the delta in it was built and swapped in, in so many seconds."""

    def merge_failed(self, catalog: str) -> None:
        """A merge failed or was refused by the self-check; the base and delta from before it are searched."""


class ImageEmbedder(Protocol):
    """Embeds catalog images while the server serves; searches go first."""

    async def embed(self, images: Sequence[bytes], *, deadline: float, views: int = 1) -> list[NDArray[np.float32]]:
        """The embeddings of each of the encoded images, float32 [N,D], L2-normalised, as a catalog build makes them.

        N is 1, and 2 for an image with a second view where `views` are asked for.

        Raises `SightlineError`: INVALID_IMAGE with the position of the image as its field, such as `images[2]`, and
        the engine's own kinds.
        """

    async def describe(self, images: Sequence[bytes]) -> list[bytes]:
        """The local features of encoded images, as a catalog stores them. Raises `SightlineError` as `embed`."""


class ImageEmbedders(Protocol):
    """The embedders of catalog images while the server serves."""

    def of(self, embedder: EmbedderSpec) -> ImageEmbedder:
        """The one that makes vectors as those of `embedder`, which is that of a catalog.

        Raises `SightlineError` of kind CONFIGURATION where none is served.
        """


def unchecked() -> None:
    """No condition."""


class CatalogWriter(Protocol):
    """The only writer of one catalog, for the event loop. Calls of many callers are written in groups.

    A receipt means that the write is on the disk and in every later search. A caller that is cancelled while it waits
    does not undo its write. All methods that wait raise `SightlineError`: OVERLOADED while the queue stays full or the
    disk is full, STOPPING once the writer stops, INDEX_UNAVAILABLE when the catalog can no longer be written.
    """

    @property
    def name(self) -> str:
        """The catalog's name, as requests give it."""

    @property
    def embedder(self) -> EmbedderSpec:
        """The embedder that makes its vectors."""

    @property
    def views(self) -> int:
        """The views of each image that it has vectors of; see `domain.image_views`."""

    @property
    def pending(self) -> int:
        """Acknowledged operations that are not yet in a revision."""

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """All revisions, the newest first."""

    async def upsert(
        self, rows: Sequence[CatalogRow], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """Adds products or replaces those of the same id: all of them, or none when this raises.

        A `request_id` that was written before returns its first receipt, marked as repeated. `deadline` is the instant
        of the loop's clock until which the call waits for room in the queue. Raises `SightlineError` of kind
        INVALID_REQUEST that names the product and what is wrong with it.
        """

    async def keep(self, images: Sequence[bytes]) -> tuple[str, ...]:
        """Keeps the original files of images whose rows are written next; returns their names for those rows.

        Nothing where the catalog keeps no originals. A file without a row is removed later.
        """

    @property
    def keeps_features(self) -> bool:
        """Returns whether the catalog keeps the local features of images."""

    async def keep_features(self, features: Sequence[bytes]) -> tuple[str, ...]:
        """Keeps the local features of images as `keep` keeps their files."""

    async def update(
        self,
        updates: Sequence[ProductUpdate],
        request_id: str = "",
        *,
        terms: WriteTerms = PLAIN,
        deadline: float = math.inf,
    ) -> Receipt:
        """Changes fields of products; their images and embeddings stay. As `upsert`."""

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """Removes products. As `upsert`."""

    async def checkpoint(self, note: str = "") -> Revision:
        """Makes a revision of everything that was acknowledged; returns the current one when nothing was."""

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """Makes the content equal to that of revision `number`, which is a new revision.

        `check` is called in the writer's turn: no write comes between it and the new revision. A `SightlineError` that
        it raises is raised here, and nothing is changed then. Raises `SightlineError` of kind INVALID_REQUEST for a
        revision that is not there or whose content was removed.
        """

    async def get(self, product_id: str) -> StoredProduct | None:
        """The product as it is after all acknowledged writes; None where there is none."""

    async def list(self, after: str, limit: int) -> tuple[StoredProduct, ...]:
        """At most `limit` products whose ids come after `after`, in the order of the ids' UTF-8 bytes."""

    async def count(self) -> int:
        """The number of products."""
