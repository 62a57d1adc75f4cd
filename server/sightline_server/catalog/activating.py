"""Making an earlier or a prepared revision the current content, as a new revision.

    same generation      the earlier version of the base is restored
    other generation     the same in its own base, which then is the one of the catalog
    prepared revision    and what was changed since without new images is carried over
Rule: whatever fails, the catalog is as it was. The revision before it is kept, so that another rollback undoes it.
"""

from dataclasses import replace

from sightline_server.catalog.carrying_over import carried_over
from sightline_server.catalog.content import Change
from sightline_server.catalog.held import Held, OpenBase, require_rows
from sightline_server.catalog.origins import Origins
from sightline_server.catalog.revisions import Revision, RevisionKind


def is_activated(target: Revision, current: Revision) -> bool:
    """Returns whether `target` was prepared for the generation of now, so that there is nothing to switch to.

    A call that is sent again must not revert what was written after the switch.
    """
    return target.kind is RevisionKind.PREPARED and target.generation == current.generation


def activate(held: Held, target: Revision, seq: int, note: str) -> None:
    """Makes the content that of `target`; every operation up to `seq` is in the current revision.

    Raises `SightlineError` of kind REVISION_OUTDATED for a prepared revision that lacks embeddings of products.
    """
    assert target.base_version is not None
    with held.new_version():
        opened = held.opened(target.generation)
        opened.base.restore(target.base_version)
        require_rows(held.folder, opened.base, target)
        content = up_to_date(held, target, opened) if target.kind is RevisionKind.PREPARED else target
        note = note or f"content of revision {target.number}"
        held.record(replace(content, kind=RevisionKind.ROLLBACK, note=note, seq=seq), opened)


def up_to_date(held: Held, target: Revision, opened: OpenBase) -> Revision:
    """`target` with the facts of the current content, which `opened` has after this."""
    before, after = held.open.generation, opened.generation
    origins = [Origins(each.layout, held.log.origins(each.number)) for each in (before, after)]
    changed = carried_over(target, (held.base, origins[0]), (opened.base, origins[1]), after.layout)
    opened.base.replace(changed.ids, changed.rows)
    change = Change(changed.old, changed.rows, after.layout.heavy[-1])
    revision = replace(
        target,
        digest=change.digest_after(target.digest),
        rows=target.rows + change.rows,
        items=target.items + change.items,
        most_items=max(target.most_items, change.most_items),
    )
    require_rows(held.folder, opened.base, revision)
    return revision
