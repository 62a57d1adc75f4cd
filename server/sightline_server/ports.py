"""The seams of the server: what the core needs of the engine, the index and the telemetry.

Rule: Protocols only. The implementations are in `triton/`, `embedded/`, `index/` and `telemetry/`; `app/` joins them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate, StoredProduct
from sightline_server.domain.catalogs import Capability
from sightline_server.domain.checks import Check
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.filters import AppliedFilter, Filter
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.living import LivingFigures, WriteRefusal
from sightline_server.domain.models import AnyRole, EmbedderSpec, Role, SpecT
from sightline_server.domain.probes import Probes
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.process_identity import ProcessIdentity

Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


class ModelRunner(Protocol):
    """Runs one model on a batch."""

    async def infer(
        self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None
    ) -> Mapping[str, NDArray[Any]]:
        """Runs one batch of B items; returns output name -> [B,...].

        `inputs` has B arrays, one for each item, for every input tensor of the model: for an image model uint8 [H,W,3]
        of the model's size. `deadline` is an instant of `time.monotonic()`. Raises `SightlineError` of kind
        ENGINE_UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL.
        """


class Models(Protocol):
    """The models that are served, by role."""

    @property
    def embedders(self) -> ServedEmbedders:
        """The embedders that are served, the one of role `embedder` first; valid once started."""

    def spec(self, role: Role[SpecT]) -> SpecT:
        """The model of `role` as the engine describes it; valid once started. Raises `ValueError` without one."""

    def runner(self, role: AnyRole) -> ModelRunner:
        """The runner of the model of `role`. Raises `ValueError` without one."""


class Engine(Models, Protocol):
    """The model server, embedded or remote."""

    @property
    def ready(self) -> bool:
        """True if all models answered their latest probe and no call has failed since."""

    @property
    def metrics_url(self) -> str:
        """The URL of the model server's own metrics; empty where that is not known."""

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener` with the new readiness whenever it changes."""

    async def start(self) -> None:
        """Returns when all models answer. Raises `SightlineError` with the engine's log when they do not."""

    async def stop(self) -> None:
        """Ends everything that `start` began, within a bound."""


class SharedEngine(Engine, Protocol):
    """An engine that other processes of this server call, too: its address, and what is done for them."""

    @property
    def address(self) -> str:
        """gRPC address of the model server: HOST:PORT or unix:PATH."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Model -> SHA-256 of its file; empty where that is not known."""

    def give_up(self, model: str) -> None:
        """Another process reports that the model server marked `model` as unhealthy."""

    def forget_process(self, process: ProcessIdentity) -> None:
        """Removes the shared memory of another process that called this engine and has ended, pixels included."""


class EmbeddedChecks(Protocol):
    """The checks of `sightline doctor` and `sightline models check` for an engine on this machine."""

    def python(self) -> Check:
        """The finding about this Python, which runs in the engine."""

    def c_library(self) -> Check:
        """The finding about the C library, which the engine is linked to."""

    def disk(self, home: Path) -> Check:
        """The finding about the disk: room for engine, models and catalogs in `home`."""

    def installed(self, home: Path) -> Path:
        """The folder of the engine that is installed under `home`. Raises `SightlineError` when there is none."""

    def model_config(self, repository: Path, model: str) -> Path:
        """The `config.pbtxt` that the engine would use for `model`; it may be missing."""


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


class Snapshot(Protocol):
    """One revision of one catalog: immutable, and complete for as long as its lease is held."""

    @property
    def name(self) -> str:
        """The catalog's name, as requests give it."""

    @property
    def revision(self) -> str:
        """The version of the catalog."""

    @property
    def built_at(self) -> str:
        """The build time of this revision, in ISO 8601."""

    @property
    def embedder(self) -> str:
        """Identity of the embedder that made its vectors, as the engine that serves it names it."""

    @property
    def dimension(self) -> int:
        """Length of its vectors."""

    @property
    def product_count(self) -> int:
        """The number of products."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of its index."""

    @property
    def self_check_recall(self) -> float:
        """recall@10 of the index against exact search, measured on probes from the catalog when it was opened."""

    @property
    def probes(self) -> Probes:
        """Queries with their exact answers in this revision, for its live recall; none where it is restricted."""

    @property
    def applied_filter(self) -> AppliedFilter | None:
        """The filter that restricts what `nearest` returns; None where every product may be returned."""

    async def select(self, wanted: Filter) -> "Snapshot":
        """This revision, restricted to the products that match `wanted`; itself where that sets no condition.

        It is covered by this snapshot's lease. Equal filters give the same snapshot as long as it is remembered, so
        that their queries share a batch. Raises `SightlineError` of kind INDEX_UNAVAILABLE.
        """

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """For each of the queries [B,dimension], L2-normalised, its `k` nearest products, nearest first.

        A product counts once, by its closest image; equal similarities are ordered by product id. Fewer than `k`
        come back only when the catalog has no more, or no more that match the filter. For a query whose `by_group` is
        true, `k` counts item groups: its answer is every product nearer than the first one of group `k` + 1, at most
        100 products of a group. Raises `SightlineError` of kind INDEX_UNAVAILABLE.
        """

    def products(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`, which are those of neighbours."""

    def image_links(self, images: Sequence[int]) -> list[str]:
        """The links of `images`, which are those of neighbours."""


class Catalogs(Protocol):
    """The catalogs that are served, by name."""

    def lease(self, granted: CatalogPass) -> AbstractContextManager[Snapshot]:
        """Holds the current revision of the pass's catalog for the length of the block, also when it is replaced.

        Raises `SightlineError` of kind UNKNOWN_CATALOG.
        """


class ImageEmbedder(Protocol):
    """Embeds catalog images while the server serves; searches go first."""

    async def embed(self, images: Sequence[bytes], *, deadline: float) -> NDArray[np.float32]:
        """The embeddings float32 [len(images),D] of encoded images, L2-normalised, as a catalog build makes them.

        Raises `SightlineError`: INVALID_IMAGE with the position of the image as its field, such as `images[2]`, and
        the engine's own kinds.
        """


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
