"""A rollback as the few changes that it makes to what is served.

Rule: only where it is certain what is served: the content of the revision before the rollback, in the base on the disk.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog.delta import single_rows
from sightline_server.catalog.difference import difference
from sightline_server.catalog.log import read_recorded
from sightline_server.catalog.operations import KEY, Layout, Operation, OpKind
from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.index.adapter import Adapter
from sightline_server.index.live.written import Written, written


def changes_to(
    path: Path, revision: Revision, seq: int, served: Revision, most: int, adapter: Adapter | None = None
) -> Sequence[Written] | None:
    """The changes that turn the content after operation `seq`, on top of `served`, into that of a rollback.

    `revision` is the rollback. None where they are more than `most`, or that is not certain, and where the rollback
    leads to another generation or another adapter than `adapter`, which is that of `served`. Raises `SightlineError` of
    kind CONFIGURATION.
    """
    if (revision.generation, revision.adapter) != (served.generation, served.adapter):
        return None
    recorded = read_recorded(path)
    effective = [each for each in recorded.revisions if each.kind is not RevisionKind.PREPARED]
    after = [each for each in effective if each.number <= revision.number]
    newer = [each for each in after if each.number > served.number]
    if (
        len(after) < 2
        or after[1].generation != revision.generation
        or after[0].number != revision.number
        or after[1].seq != seq
    ):
        return None
    if sum(each.kind is RevisionKind.ROLLBACK for each in newer) != 1 or revision.seq != seq:
        return None
    versions = after[1].base_version, after[0].base_version
    if versions[0] is None or versions[1] is None:
        return None
    found = difference(path, versions[0], versions[1], most, revision.generation)
    if found is None:
        return None
    layout = recorded.generations[revision.generation].layout
    return changes(found.removed, found.added.cast(layout.schema), layout, seq, adapter)


def changes_few(path: Path, target: Revision, most: int) -> bool:
    """Returns whether a rollback to `target` surely changes at most `most` products of the content on the disk.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    recorded = read_recorded(path)
    left = most - len({each.id for each in recorded.operations})
    current = recorded.current
    if (target.generation, target.adapter) != (current.generation, current.adapter):
        return False
    if target.base_version is None or left < 0:
        return False
    return difference(path, recorded.base_version, target.base_version, left, target.generation) is not None


def changes(
    removed: Sequence[str], added: pa.Table, layout: Layout, seq: int, adapter: Adapter | None = None
) -> Sequence[Written]:
    """The changes that remove some products and add others."""
    dimension = layout.schema.field(layout.heavy[-1]).type.value_type.list_size
    rows = [Operation(seq, OpKind.UPSERT, row[KEY][0].as_py(), row) for row in single_rows(added)]
    kept = {each.id for each in rows}
    gone = [Operation(seq, OpKind.DELETE, row_id, None) for row_id in removed if row_id not in kept]
    return [written(each, dimension, adapter) for each in (*gone, *rows)]
