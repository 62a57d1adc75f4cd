"""The revisions whose content is kept when the oldest ones are forgotten. Pure.

Rule: the current revision is always kept. Until a compaction is asked for, the newest revision of other
generations is kept as well: a prepared one waits for its activation, and an earlier embedder is the way back.
"""

from collections.abc import Sequence

from sightline_server.catalog.revisions import Revision, current_revision

KEEP_REVISIONS = 20
SPARE_REVISIONS = 5
"""Revisions beyond those to keep before the oldest are removed, so that not every checkpoint removes files."""
OTHER_GENERATIONS = 2
"""Generations other than the current one that keep their newest revision; each has a whole copy of the catalog."""


def available(revisions: Sequence[Revision]) -> list[Revision]:
    """The revisions whose content is kept, the newest first."""
    return [each for each in revisions if each.base_version is not None]


def kept_numbers(revisions: Sequence[Revision], keep: int, others: int = OTHER_GENERATIONS) -> set[int]:
    """The numbers of the newest `keep` revisions, and of the newest one of so many `others` generations."""
    current, there = current_revision(revisions), available(revisions)
    newest: dict[int, int] = {}
    for each in there:
        if each.generation != current.generation:
            newest.setdefault(each.generation, each.number)
    return {current.number, *(each.number for each in there[: max(keep, 1)]), *list(newest.values())[:others]}
