"""The first revision of a catalog with a log, made in a folder that nobody reads yet.

Rule: the caller publishes the folder, durably, once this has returned.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline_server.catalog import log
from sightline_server.catalog.base import Base
from sightline_server.catalog.content import item_count
from sightline_server.catalog.digest import SumDigest
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.operations import Layout
from sightline_server.catalog.revisions import Revision, RevisionKind


@dataclass(slots=True)
class Tally:
    """Facts of the rows of a base."""

    rows: int
    items: int
    most_items: int
    digest: str


def tally(batches: Iterable[pa.RecordBatch], heavy: str) -> Tally:
    """The facts of `batches`."""
    digest, found = SumDigest(), Tally(0, 0, 0, "")
    for batch in batches:
        digest.update(batch)
        table = pa.Table.from_batches([batch])
        found.rows += batch.num_rows
        found.items += item_count(table, heavy)
        found.most_items = max(found.most_items, *(batch[heavy].value_lengths().to_pylist() or [0]))
    found.digest = digest.hexdigest()
    return found


def found_catalog(
    folder: Path, layout: Layout, facts: Mapping[str, Any], base_version: int, *, created_at: str, actor: str = ""
) -> Revision:
    """Makes the log of `folder`, whose base is there in `base_version`, with that as revision 1."""
    base = Base(folder, base_version)
    counted = tally((batch.select(layout.schema.names) for batch in base.batches()), layout.heavy[-1])
    first = Revision(
        1,
        base_version,
        0,
        counted.digest,
        counted.rows,
        counted.items,
        counted.most_items,
        created_at,
        RevisionKind.BUILD,
        actor=actor,
    )
    base.set_tags({1: base_version})
    log.create(folder / LOG, layout, facts, first)
    return first
