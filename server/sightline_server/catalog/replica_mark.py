"""The mark of a replica: a catalog that follows the published revisions of another one.

Rule: only its follower writes to it. The mark is a file of the folder, so it comes and goes with the content.
"""

from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError

MARK = "REPLICA"


def is_replica(folder: Path) -> bool:
    """Returns whether the catalog at `folder` follows another one."""
    return (folder / MARK).exists()


def require_not_replica(folder: Path) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for a replica."""
    if is_replica(folder):
        message = (
            f"the catalog at {folder} is a replica: it follows the revisions of another catalog, and what is written "
            "to it would be lost. Change that catalog instead. To make this one independent, end its follower and "
            f"remove {folder / MARK}"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
