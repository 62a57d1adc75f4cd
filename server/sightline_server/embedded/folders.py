"""The folder that Triton makes in `/tmp`, and its removal.

Triton's Python backend makes an empty `/tmp/python_env_XXXXXX`, whatever TMPDIR says, and removes it only when it ends
by itself: a killed engine leaves it behind. Nothing in its name shows its owner, so the one that appeared while an
engine of ours started gets a file in it that does, called as our regions are. Rule: where two appeared, neither counts
as ours; a folder with anything else in it is left alone; standard library only, because the reaper loads this file.
"""

import os
from pathlib import Path

from sightline_server import owned_names
from sightline_server.triton import regions

FOLDER = Path("/tmp")  # noqa: S108 (compiled into Triton)
PREFIX = "python_env_"
MARK = "engine"


def present() -> set[Path]:
    """The folders of this user's Tritons that are there now, ours or not."""
    try:
        entries = list(os.scandir(FOLDER))
    except OSError:
        return set()
    return {Path(entry.path) for entry in entries if entry.name.startswith(PREFIX) and is_own(entry)}


def is_own(entry: os.DirEntry[str]) -> bool:
    """Returns whether it is a folder of this user's."""
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


def mark(before: set[Path]) -> Path | None:
    """Marks the one empty folder that is new since `before` as this process's; None where it is ambiguous."""
    new = [path for path in present() - before if names(path) == []]
    if len(new) != 1:
        return None
    try:
        (new[0] / f"{owned_names.own_prefix()}{MARK}").touch(0o600)
    except OSError:
        return None
    return new[0]


def remove(path: Path) -> None:
    """Removes a marked folder, unless there is more in it than marks."""
    found = names(path)
    if found and all(name.startswith(owned_names.PREFIX) and name.endswith(MARK) for name in found):
        for name in found:
            regions.unlink(path / name)
        try:
            path.rmdir()
        except OSError:
            return


def remove_of(prefix: str) -> None:
    """Removes the folders that the process with this prefix has marked."""
    for path in present():
        if any(name.startswith(prefix) for name in names(path)):
            remove(path)


def remove_orphans() -> None:
    """Removes the folders that servers marked which are no longer there."""
    for path in present():
        found = names(path)
        if found and not any(owned_names.owner_lives(name) for name in found):
            remove(path)


def names(path: Path) -> list[str]:
    """The entries of a folder; empty where it is gone."""
    try:
        return os.listdir(path)
    except OSError:
        return []
