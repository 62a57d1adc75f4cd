"""The figures of a catalog that is written while it is searched, and the observer that ignores them.

Rule: plain numbers, from which the telemetry makes series. Nothing here says what a product is or looks like.
"""

from dataclasses import dataclass
from enum import Enum


class WriteRefusal(Enum):
    """A reason for which a valid write was not taken; a write that is wrong itself is not counted."""

    DISK_FULL = "disk_full"
    """There was no room for it on the disk."""
    QUEUE_FULL = "queue_full"
    """Too many writes were waiting."""
    FAILED = "failed"
    """Anything else, such as a disk that became read-only."""


@dataclass(frozen=True, slots=True)
class LiveSizes:
    """The sizes of the index of a living catalog at one moment; `LivingFigures` explains each."""

    products: int
    base_images: int
    delta_images: int
    merge_at_images: int
    dead_images: int
    base_memory_bytes: int
    delta_memory_bytes: int


@dataclass(frozen=True, slots=True)
class LivingFigures:
    """The sizes of a living catalog at one moment. An image is one vector of the index."""

    products: int
    """Products that searches can return."""
    log_operations: int
    """Operations in the log that no checkpoint has."""
    log_bytes: int
    """Bytes of the log's files, the write-ahead log of SQLite included."""
    base_images: int
    """Images in the base index, dead ones included."""
    delta_images: int
    """Images in the delta, which every search compares one by one, dead ones included."""
    merge_at_images: int
    """Images in the delta with which a merge into a new base begins."""
    dead_images: int
    """Images of base and delta that no search returns any more: their product was deleted or replaced."""
    base_memory_bytes: int
    """About the bytes of the base's vectors."""
    delta_memory_bytes: int
    """About the bytes of the delta's vectors and texts."""
    base_versions: int
    """Versions of the base on the disk."""
    base_bytes: int
    """Bytes of the base's files."""
    disk_free_bytes: int
    """Bytes that the server may still write to the disk of the catalog."""
    last_checkpoint_at: float
    """Unix time of the last checkpoint, or of the first revision where there was none."""


class Unobserved:
    """Satisfies `ports.LivingObserver` and does nothing."""

    def opened(self, catalog: str, figures: LivingFigures) -> None:
        """See `ports.LivingObserver`."""

    def closed(self, catalog: str) -> None:
        """See `ports.LivingObserver`."""

    def figures(self, catalog: str, figures: LivingFigures) -> None:
        """See `ports.LivingObserver`."""

    def acknowledged(self, catalog: str, operations: int, commit_s: float) -> None:
        """See `ports.LivingObserver`."""

    def refused(self, catalog: str, reason: WriteRefusal) -> None:
        """See `ports.LivingObserver`."""

    def checkpointed(self, catalog: str, seconds: float, revision: str) -> None:
        """See `ports.LivingObserver`."""

    def checkpoint_failed(self, catalog: str) -> None:
        """See `ports.LivingObserver`."""

    def merged(self, catalog: str, seconds: float) -> None:
        """See `ports.LivingObserver`."""

    def merge_failed(self, catalog: str) -> None:
        """See `ports.LivingObserver`."""


UNOBSERVED = Unobserved()
"""The observer that ignores everything, as for the command line's local writes."""
