"""The private folder of used grants of one server and its workers, from its start to its end.

Rule: it carries its owner in its name and is locked, so that what a killed server left is removed by the next one and
what a living one uses is not, also by cleaners of temporary files.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sightline_server import owned_names
from sightline_server.access.grants.host_store import NAME
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.runtime_folder import is_private, locked, places

FOLDER = re.compile(re.escape(owned_names.PREFIX) + r"\d+-\d+-grants-[0-9a-f]+")


@contextmanager
def used_grants_folder() -> Iterator[Path]:
    """An empty private folder for the length of the block.

    Raises `SightlineError` of kind CONFIGURATION where none can be made.
    """
    remove_orphans()
    path = make()
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        remove(path)
        os.close(lock)


def make() -> Path:
    """A new private folder. Raises `SightlineError` of kind CONFIGURATION."""
    reasons = []
    for place in places():
        path = place / f"{owned_names.own_prefix()}grants-{os.urandom(4).hex()}"
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            reasons.append(f"{place}: {error.strerror}")
            continue
        if is_private(path):
            return path
        reasons.append(f"{place} does not keep files private")
    message = f"no folder for used grants: {'; '.join(reasons)}. Set consent.store_folder"
    raise SightlineError(ErrorKind.CONFIGURATION, message)


def remove_orphans() -> None:
    """Removes the folders of this user's servers that have ended."""
    for place in places():
        with suppress(OSError):
            for name in os.listdir(place):
                path = place / name
                ours = FOLDER.fullmatch(name) and is_private(path)
                if ours and not owned_names.owner_lives(name) and not locked(path):
                    remove(path)


def remove(path: Path) -> None:
    """Removes a folder and the used grants in it; anything else stays, and the folder with it."""
    with suppress(OSError):
        for entry in os.scandir(path):
            if NAME.fullmatch(entry.name):
                os.unlink(entry.path)
        path.rmdir()
