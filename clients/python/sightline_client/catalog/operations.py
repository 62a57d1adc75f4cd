"""Imports, exports and reembeddings that a server runs, as values: progress, problems of rows, and the result."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sightline_client.errors import SightlineError


class FeedFormat(Enum):
    """The format of an exported feed; BY_NAME is what the name of the file says."""

    BY_NAME = "by_name"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    XML = "xml"
    PARQUET = "parquet"


class DecimalSign(Enum):
    """The decimal sign of prices that can be read in two ways, such as 1.234; AUTO leaves such prices out."""

    AUTO = "auto"
    POINT = "point"
    COMMA = "comma"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A problem of a row of a feed; `skipped` says that the row was not written."""

    row: int
    product_id: str
    description: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an operation; `rows_total` is 0 as long as it is not known.

    `problems` are the first ones of `problem_count`.
    """

    rows_total: int = 0
    rows_read: int = 0
    rows_written: int = 0
    rows_failed: int = 0
    problem_count: int = 0
    problems: tuple[RowProblem, ...] = ()
    created_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import: products that were written, and the revision that they are in."""

    products: int
    revision: str


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of an export: what was written, and the revision that it is."""

    products: int
    images: int
    revision: str


@dataclass(frozen=True, slots=True)
class ReembedResult:
    """The result of a reembedding: the revision that was prepared, with its number and what is in it.

    `reused` counts products that the embedder had embedded before, `left_out` those whose images could not be had.
    """

    revision: str
    revision_number: int
    products: int
    images: int
    reused: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Operation:
    """An import, an export or a reembedding. Once `done`, it has either a `result` or an `error`."""

    name: str
    done: bool
    progress: Progress
    result: ImportResult | ExportResult | ReembedResult | None = None
    error: SightlineError | None = None
