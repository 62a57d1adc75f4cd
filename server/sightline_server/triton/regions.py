"""The names of our files in `/dev/shm`, and their removal.

Every shared memory file of a server, its own and its engine's, is called `sightline-PID-START-...`: the server's
process id and its start time, so that a reused id is not taken for a living owner. Rule: standard library only, because
the reaper loads this file by itself.
"""

import errno
import os
from pathlib import Path

FOLDER = Path("/dev/shm")  # noqa: S108 (shared memory has no other folder)
PREFIX = "sightline-"


def prefix_of(pid: int, start: str) -> str:
    """The prefix of the names of all regions of this process."""
    return f"{PREFIX}{pid}-{start}-"


def own_prefix() -> str:
    """The prefix of this process."""
    return prefix_of(os.getpid(), start_time(os.getpid()))


def start_time(pid: int) -> str:
    """The start of the process, in clock ticks since boot; empty when there is no such process."""
    fields = stat_fields(pid)
    return fields[19] if fields else ""


def stat_fields(pid: int) -> list[str]:
    """`/proc/PID/stat` from the state on: [0] state, [1] parent, [2] group, [19] start; empty when it is gone.

    Raises `OSError` when this process has no descriptor left for the check, which says nothing about the other.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return []
    # The name before the last ")" may hold blanks and brackets.
    return text.rpartition(")")[2].split()


def remove(prefix: str) -> int:
    """Unlinks all regions whose name begins with `prefix`; returns how many there were."""
    return sum(unlink(path) for path in listed(prefix))


def remove_orphans() -> int:
    """Unlinks the regions of servers that are no longer there; returns how many."""
    return sum(unlink(path) for path in listed(PREFIX) if not owner_lives(path.name))


def owner_lives(name: str) -> bool:
    """Returns whether the process that a region's name carries is still the one that made it."""
    parts = name.removeprefix(PREFIX).split("-")
    if len(parts) < 3 or not parts[0].isdigit():
        return False
    return start_time(int(parts[0])) == parts[1]


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
