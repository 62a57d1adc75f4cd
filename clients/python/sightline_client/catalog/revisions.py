"""Catalogs and their revisions, as the server describes them. Plain frozen values."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


@dataclass(frozen=True, slots=True)
class CatalogInfo:
    """A catalog. `revision` names its content, as `Accepted.catalog_revision` does.

    `pending_writes` are acknowledged and not yet in a revision. `embedder` is the identity that ready embeddings have
    to name, `dimension` the length of its vectors.
    """

    name: str
    revision: str
    revision_number: int
    products: int
    pending_writes: int
    embedder: str
    dimension: int
    updated_at: datetime | None
    etag: str


class RevisionKind(Enum):
    """The reason for a revision; UNKNOWN stands for a value of a newer server."""

    UNKNOWN = "unknown"
    BUILD = "build"
    CHECKPOINT = "checkpoint"
    ROLLBACK = "rollback"
    PREPARED = "prepared"
    ADAPTED = "adapted"


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of a catalog; `available` says that its content is kept, so that it can be activated.

    `generation` counts the embedders that the catalog was embedded by; 0 where an older server does not say it.
    """

    number: int
    revision: str
    digest: str
    products: int
    images: int
    kind: RevisionKind
    created_at: datetime | None
    note: str
    creator: str
    available: bool
    generation: int = 0
