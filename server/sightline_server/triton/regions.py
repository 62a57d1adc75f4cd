"""The names of our files in `/dev/shm`, and their removal.

Every shared memory file of a server, its own and its engine's, is called `sightline-PID-START-...`: the server's
process id and its start time, so that a reused id is not taken for a living owner. Rule: standard library only, because
the reaper loads this file by itself.
"""

import os
from pathlib import Path

from sightline_server.process_identity import ProcessIdentity, own_identity

FOLDER = Path("/dev/shm")  # noqa: S108 (shared memory has no other folder)
PREFIX = "sightline-"


def prefix_of(process: ProcessIdentity) -> str:
    """The prefix of the names of all regions of this process."""
    return f"{PREFIX}{process}-"


def own_prefix() -> str:
    """The prefix of this process."""
    return prefix_of(own_identity())


def remove(prefix: str) -> int:
    """Unlinks all regions whose name begins with `prefix`; returns how many there were."""
    return sum(unlink(path) for path in listed(prefix))


def remove_orphans() -> int:
    """Unlinks the regions of servers that are no longer there; returns how many."""
    return sum(unlink(path) for path in listed(PREFIX) if not owner_lives(path.name))


def owner_lives(name: str) -> bool:
    """Returns whether the process that a region's name carries is still the one that made it."""
    owner = ProcessIdentity.parse(name.removeprefix(PREFIX))
    return owner is not None and name.startswith(prefix_of(owner)) and owner.lives


def listed(prefix: str) -> list[Path]:
    """The regions whose name begins with `prefix`."""
    try:
        return [FOLDER / name for name in os.listdir(FOLDER) if name.startswith(prefix)]
    except OSError:
        return []


def unlink(path: Path) -> bool:
    """Removes one region; False when it was gone or is another user's."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
