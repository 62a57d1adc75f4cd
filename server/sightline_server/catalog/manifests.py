"""The manifests of a Lance dataset: one file per version in `_versions`.

Rule: only the recorded version counts. A newer manifest is of a checkpoint that did not end, or is damaged; it is moved
aside, because Lance would build on it or could not write at all.
"""

from pathlib import Path

from sightline_server.catalog.durable import sync

VERSIONS = "_versions"
HINT = "latest_version_hint.json"
QUARANTINE = "quarantine"
LARGEST = (1 << 64) - 1
MAX_QUARANTINED = 16
"""Files in quarantine; the oldest ones are removed first."""


def version_of(name: str) -> int | None:
    """The version of the manifest called `name`, None for another file."""
    stem, dot, suffix = name.partition(".")
    if not dot or suffix != "manifest" or not stem.isdecimal():
        return None
    number = int(stem)
    # The newer naming counts down with 20 digits, so that the newest version is listed first.
    return LARGEST - number if len(stem) == 20 else number


def versions(dataset: Path) -> set[int]:
    """The versions that have a manifest."""
    folder = dataset / VERSIONS
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return {number for name in names if (number := version_of(name)) is not None}


def manifest_name(dataset: Path, version: int) -> str:
    """The name of the manifest of `version`. Raises `FileNotFoundError` without one."""
    for entry in (dataset / VERSIONS).iterdir():
        if version_of(entry.name) == version:
            return entry.name
    raise FileNotFoundError(f"version {version} of {dataset} has no manifest")


def newer(dataset: Path, version: int) -> list[Path]:
    """The manifests of versions after `version`, and leftovers of unfinished ones."""
    found: list[Path] = []
    if not (dataset / VERSIONS).is_dir():
        return found
    for entry in sorted((dataset / VERSIONS).iterdir()):
        number = version_of(entry.name)
        if number is None:
            unfinished = entry.name != HINT and not entry.name.startswith("d")
            found += [entry] if unfinished else []
        elif number > version:
            found.append(entry)
    return found


def quarantine(dataset: Path, version: int) -> list[Path]:
    """Moves what `newer` finds to the folder `quarantine` next to `dataset`, durably. Returns the new paths."""
    found = newer(dataset, version)
    if not found:
        return []
    folder = dataset.parent / QUARANTINE
    folder.mkdir(exist_ok=True)
    first = next_number(folder)
    moved = [folder / f"{number}-{entry.name}" for number, entry in enumerate(found, first)]
    # The hint names a version that may be gone.
    (dataset / VERSIONS / HINT).unlink(missing_ok=True)
    for entry, target in zip(found, moved, strict=True):
        entry.rename(target)
    for path in (folder, dataset / VERSIONS, dataset.parent):
        sync(path)
    limit(folder)
    return moved


def next_number(folder: Path) -> int:
    """A number that no file in quarantine begins with; it grows with each file."""
    return 1 + max((number_of(entry) for entry in folder.iterdir()), default=0)


def number_of(entry: Path) -> int:
    """The number that a file in quarantine begins with, 0 without one."""
    number = entry.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def limit(folder: Path) -> None:
    """Removes the oldest files beyond `MAX_QUARANTINED`."""
    entries = sorted(folder.iterdir(), key=number_of)
    for entry in entries[:-MAX_QUARANTINED]:
        entry.unlink(missing_ok=True)
