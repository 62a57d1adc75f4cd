"""The replacement of a catalog that has revisions, which only a flag allows."""

from pathlib import Path

from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError


def revisions_to_discard(out: Path, *, replace: bool, agreed: bool) -> str:
    """The log and revisions that a build throws away, human-readable; empty where there are none.

    Raises `SightlineError` of kind CONFIGURATION when there are some and the user has not agreed.
    """
    from sightline_server.catalog.content import is_living

    if not replace or not is_living(out):
        return ""
    lost = history(out)
    if not agreed:
        message = (
            f"{out} was changed since it was built; --replace would throw away {lost}, and no rollback could bring "
            "them back. Add --discard-revisions to do that, or keep them: sightline catalog upsert and delete change "
            "the products that differ"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return lost


def history(out: Path) -> str:
    """The log of the catalog at `out`, human-readable."""
    from sightline_server.catalog.log import read_recorded

    try:
        recorded = read_recorded(out)
    except SightlineError:
        return "a log that cannot be read"
    kept = sum(each.base_version is not None for each in recorded.revisions)
    operations = f" and {counted(len(recorded.operations), 'operation')}" if recorded.operations else ""
    return f"its log with {counted(kept, 'revision')}{operations}"
