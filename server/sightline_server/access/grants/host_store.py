"""Used grants as files of one folder: a grant works once for all processes of this machine that use the folder.

Rule: making a file is the check and the note in one step of the kernel, so no two processes can both be first. A file
is empty, its name is a digest, and it is removed when its grant can no longer be valid. What cannot be noted is
refused.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from sightline_server.access.grants import refusals
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.runtime_folder import is_private

log = logging.getLogger(__name__)

SWEEP_S = 20.0
"""Seconds between two removals of what has expired."""
NAME = re.compile(r"[0-9a-f]{64}")
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class HostStore:
    """Satisfies `UsedGrants` for about `most` grants in `folder`, each kept for `kept_s` seconds.

    Times are those of the files, in Unix time, because the folder may outlive a process and the machine's start.
    """

    def __init__(self, folder: Path, kept_s: float, most: int, now: Callable[[], float] = time.time) -> None:
        """Raises `SightlineError` of kind CONFIGURATION for a folder that is not private or cannot be read."""
        check_folder(folder)
        self._folder = folder
        self._kept_s = kept_s
        self._most = most
        self._now = now
        self._count = 0
        self.sweep()

    async def use(self, key: bytes) -> bool:
        """See `UsedGrants`. Raises `SightlineError` of kind OVERLOADED, or GRANT_STORE_UNAVAILABLE."""
        path = self._folder / key.hex()
        try:
            if self._count >= self._most:
                if path.exists():
                    return False
                raise refusals.store_full()
            os.close(os.open(path, NEW_FILE, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            log.error("consent: the use of a grant cannot be noted in %s: %s", self._folder, error.strerror)
            raise refusals.store_unavailable() from error
        self._count += 1
        return True

    async def keep_sweeping(self) -> None:
        """Removes what has expired until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await asyncio.to_thread(self.sweep)
            except OSError as error:
                log.error("consent: used grants cannot be listed in %s: %s", self._folder, error.strerror)

    def sweep(self) -> None:
        """Removes the files whose grants have expired, and counts the others. Raises `OSError`."""
        oldest, kept = self._now() - self._kept_s, 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not NAME.fullmatch(entry.name):
                    continue
                try:
                    expired = entry.stat(follow_symlinks=False).st_mtime < oldest
                    if expired:
                        os.unlink(entry.path)
                    kept += not expired
                except FileNotFoundError:
                    pass  # another process removed it
        self._count = kept


def check_folder(folder: Path) -> None:
    """Makes the folder where it is missing. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        message = f"cannot make the folder of used grants {folder}: {error.strerror}"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    if not is_private(folder):
        message = f"the folder of used grants {folder} must belong to this user alone: chmod 700 {folder}"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
