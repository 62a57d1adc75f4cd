"""The private folder of used grants of one server and its workers, from its start to its end.

Rule: it carries its owner in its name and is locked, so that what a killed server left is removed by the next one and
what a living one uses is not, also by cleaners of temporary files.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sightline_server import owned_names, runtime_folder
from sightline_server.access.grants.host_store import NAME

FOLDER = re.compile(re.escape(owned_names.PREFIX) + r"\d+-\d+-grants-[0-9a-f]+")


@contextmanager
def used_grants_folder() -> Iterator[Path]:
    """An empty private folder for the length of the block.

    Raises `SightlineError` of kind CONFIGURATION where none can be made.
    """
    for orphan in runtime_folder.orphans(FOLDER):
        remove(orphan)
    path = runtime_folder.private_folder("grants", "no folder for used grants", "Set consent.store_folder")
    lock = runtime_folder.lock_folder(path)
    try:
        yield path
    finally:
        remove(path)
        os.close(lock)


def remove(path: Path) -> None:
    """Removes a folder and the used grants in it; anything else stays, and the folder with it."""
    with suppress(OSError):
        for entry in os.scandir(path):
            if NAME.fullmatch(entry.name):
                os.unlink(entry.path)
        path.rmdir()
