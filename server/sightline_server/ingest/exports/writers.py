"""The seam of the formats: each writes products to an open file, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from sightline_server.index.schema import CatalogRow


@dataclass(frozen=True, slots=True)
class Plan:
    """The contents of an export: the attributes that have a column in a table, and the embedder of the vectors, with
    its whole digest; empty where no vectors are written."""

    columns: tuple[str, ...] = ()
    embedder: str = ""


class FeedWriter(Protocol):
    """Writes one feed to a binary file that it does not close."""

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        """Writes what comes before the products."""

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """Writes some products. Raises `SightlineError` of kind INTERNAL for one that would not be read as it is."""

    def finish(self) -> None:
        """Writes what comes behind the products."""
