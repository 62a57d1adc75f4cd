"""The names of this server's files in `/dev/shm`, and their removal.

Every shared memory file of a server, its own and its engine's, has the server's process in its name (owned_names.py).
Rule: standard library only, because the reaper loads this file by itself.
"""

import os
from pathlib import Path

from sightline_server.owned_names import PREFIX, owner_lives

FOLDER = Path("/dev/shm")  # noqa: S108 (shared memory has no other folder)


def remove(prefix: str) -> int:
    """Unlinks all regions whose name begins with `prefix`; returns how many there were."""
    return sum(unlink(path) for path in listed(prefix))


def remove_orphans() -> int:
    """Unlinks the regions of servers that have ended; returns how many."""
    return sum(unlink(path) for path in listed(PREFIX) if not owner_lives(path.name))


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
