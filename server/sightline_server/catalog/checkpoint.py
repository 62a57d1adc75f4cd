"""A checkpoint: the last version of each row of the log, and the revision that it makes.

Rule: only the rows that changed are read. Counts and digest follow from the old rows and the new ones. Writers need not
wait while one is made: what they write is not in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sightline_server.catalog.base import Base
from sightline_server.catalog.content import Change
from sightline_server.catalog.delta import View, materialised
from sightline_server.catalog.operations import Layout
from sightline_server.catalog.revisions import Revision, RevisionKind


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The change of the base in revision `before`: its rows of `ids` are replaced by `rows`.

    `revision` is the one that this makes; it has no version and no note yet.
    """

    ids: Sequence[str]
    rows: pa.Table
    revision: Revision
    before: Revision


def checkpoint_of(
    view: View, seq: int, base: Base, layout: Layout, current: Revision, pause: Callable[[], None]
) -> Checkpoint:
    """The checkpoint of all operations up to `seq`, which `view` shows, on top of revision `current`.

    `pause` is called before each part. Raises `SightlineError` of kind CONFIGURATION when the base cannot be read.
    """
    ids = sorted(view.replaced)
    pause()
    old = base.rows(ids).cast(layout.schema)
    pause()
    new = materialised(view, layout, base.rows)
    pause()
    change = Change(old, new, layout.heavy[-1])
    revision = replace(
        current,
        seq=seq,
        digest=change.digest_after(current.digest),
        rows=current.rows + change.rows,
        items=current.items + change.items,
        most_items=max(current.most_items, change.most_items),
        kind=RevisionKind.CHECKPOINT,
        note="",
    )
    return Checkpoint(ids, new, revision, current)
