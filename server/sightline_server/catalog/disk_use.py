"""The bytes of a catalog on its disk, by part, while others write and remove its files.

Rule: only sizes are read, never content, and a file that goes meanwhile counts nothing.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sightline_server.catalog.generations import generation_of
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.manifests import VERSIONS, version_of


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Sizes in bytes. `base_versions` counts the versions that the bases of all generations have on the disk."""

    log_bytes: int
    base_bytes: int
    base_versions: int
    free_bytes: int


def disk_use(folder: Path) -> DiskUse:
    """The sizes of the catalog in `folder`. Raises `OSError` when the folder itself cannot be read."""
    free = shutil.disk_usage(folder).free
    log_bytes = sum(size_of(folder / f"{LOG}{suffix}") for suffix in ("", "-wal", "-shm"))
    bases = [entry for entry in folder.iterdir() if generation_of(entry.name) is not None]
    base_bytes = sum(size_of(path) for base in bases for path in files_below(base))
    versions = sum(version_of(path.name) is not None for base in bases for path in files_below(base / VERSIONS))
    return DiskUse(log_bytes, base_bytes, versions, free)


def size_of(path: Path) -> int:
    """The size of a file in bytes; 0 for one that is gone."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`; what goes meanwhile is left out."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
