"""The revisions that differ by operations alone. Pure."""

from collections.abc import Sequence

from sightline_server.catalog.revisions import Revision, RevisionKind, current_revision


def continues(name: str, revisions: Sequence[Revision]) -> bool:
    """Returns whether the content of now is that of revision `name` and the operations after it.

    `revisions` are those of a catalog, the newest first. A rollback and another embedder change the content in another
    way.
    """
    effective = [each for each in revisions if each.kind is not RevisionKind.PREPARED]
    base = next((each for each in effective if each.name == name), None)
    if base is None or base.generation != current_revision(revisions).generation:
        return False
    return all(each.kind is RevisionKind.CHECKPOINT for each in effective if each.number > base.number)
