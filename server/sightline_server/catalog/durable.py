"""Bringing files and folders to the disk.

Rule: a name lasts only after its folder was synchronised, so a new file takes two calls: one for the file, one for the
folder that names it.
"""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Brings one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Brings every file and folder below `root` to the disk."""
    for folder, _, files in os.walk(root):
        for name in files:
            sync(Path(folder) / name)
        sync(Path(folder))


class NewFiles:
    """Knows which files below `root` are on the disk, and brings the others there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known = dict(stamps(root))

    def sync(self) -> None:
        """Brings every file that is new or was changed since the last call, and every folder, to the disk."""
        found = dict(stamps(self._root))
        for path, stamp in found.items():
            if self._known.get(path) != stamp:
                sync(path)
        for folder, _, _ in os.walk(self._root):
            sync(Path(folder))
        self._known = found


def stamps(root: Path) -> list[tuple[Path, tuple[int, int, int]]]:
    """Each file below `root` with its number, size and time of the last change."""
    found = []
    for folder, _, files in os.walk(root):
        for name in files:
            path = Path(folder) / name
            stat = path.stat()
            found.append((path, (stat.st_ino, stat.st_size, stat.st_mtime_ns)))
    return found
