"""A catalog -> a feed: reads one revision as a stream and writes it in a format.

Rule: memory does not grow with the catalog. The file gets its name only after all rows were read and their digest is
that of the revision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from sightline_server.domain.image_views import ONE_VIEW, distinct_links, vectors_name
from sightline_server.index.schema import CatalogRow
from sightline_server.index.stored_rows import StoredRows
from sightline_server.ingest.exports.cells import AttributeColumns
from sightline_server.ingest.exports.delimited import DelimitedWriter, TabWriter
from sightline_server.ingest.exports.formats import ExportFormat
from sightline_server.ingest.exports.json_lines import JsonLinesWriter
from sightline_server.ingest.exports.parquet import ParquetWriter
from sightline_server.ingest.exports.target import opened_target
from sightline_server.ingest.exports.writers import FeedWriter, Plan
from sightline_server.ingest.exports.xml_feed import XmlWriter

WRITERS: Mapping[ExportFormat, Callable[[BinaryIO, Plan], FeedWriter]] = {
    ExportFormat.CSV: DelimitedWriter,
    ExportFormat.TSV: TabWriter,
    ExportFormat.JSONL: JsonLinesWriter,
    ExportFormat.XML: XmlWriter,
    ExportFormat.PARQUET: ParquetWriter,
}
TABLES = (ExportFormat.CSV, ExportFormat.TSV, ExportFormat.PARQUET)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The target of an export (a file, or `-`), its format, and whether embeddings are written with the products."""

    target: str
    format: ExportFormat
    embeddings: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The outcome: what was read, and the products and images that were written."""

    revision: str
    products: int
    images: int


def export_catalog(
    stored: StoredRows, options: ExportOptions, progress: Callable[[int], None] = lambda count: None
) -> ExportReport:
    """Writes the products of `stored`, and calls `progress` with the number of those written so far.

    Blocking. Raises `SightlineError` as `StoredRows.checked` and `opened_target`, and `OSError` for a full disk; no
    file was written then, and one that was there is as it was.
    """
    plan = plan_of(stored, options)
    views = stored.facts.views
    products = images = 0
    with opened_target(options.target, replace=options.replace) as file:
        writer = WRITERS[options.format](file, plan)
        for rows in stored.checked():
            writer.write(rows if plan.embedder or views == ONE_VIEW else [in_one_view(row, views) for row in rows])
            products += len(rows)
            images += sum(len(distinct_links(row.images, views)) for row in rows)
            progress(products)
        writer.finish()
        file.flush()
    return ExportReport(stored.revision, products, images)


def plan_of(stored: StoredRows, options: ExportOptions) -> Plan:
    """The columns of a table, for which the attributes of all products are read first, and the embedder."""
    attributes = AttributeColumns()
    if options.format in TABLES:
        for batch in stored.columns(["attributes"]):
            attributes.add(batch["attributes"].to_pylist())
    embedder = stored.facts.embedder
    name = f"{embedder.name}@{embedder.sha256}" if embedder.sha256 else embedder.name
    name = vectors_name(name, stored.facts.views)
    return Plan(tuple(attributes.chosen()), name if options.embeddings else "")


def in_one_view(row: CatalogRow, views: int) -> CatalogRow:
    """`row` with the link of each image once; for a feed without embeddings, whose reader makes the views again."""
    return replace(row, images=distinct_links(row.images, views))
