"""Relative links -> files below one folder.

Rule: a file outside of the folder is never read, whatever the link or a symbolic link says, because a slip in a feed
must not publish a file that is not the shop's. The exact name always wins over another spelling of it.
"""

import os
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from sightline_server.ingest.links import UnreadableImageError


class ImageFolder:
    """The folder that relative links start from. Its methods block on the disk and may run in several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._lock = threading.Lock()
        self._composed = lru_cache(maxsize=64)(composed_names)

    def read(self, link: str, max_bytes: int) -> bytes:
        """The first `max_bytes` + 1 bytes of the file at `link`. Raises `UnreadableImageError`."""
        try:
            path = self._find(link)
            with path.open("rb") as file:
                return file.read(max_bytes + 1)
        except (OSError, ValueError, RuntimeError) as error:
            raise UnreadableImageError(f"the file cannot be read ({type(error).__name__})") from error

    def _find(self, link: str) -> Path:
        """The file that `link` names: by its exact name, else by another spelling of it."""
        # Unlike those of `Path`, they are false for a name that is too long, such as one with a signature behind it.
        if not os.path.exists(self._exact(link)):
            for spelling in spellings(link):
                path = self._recomposed(spelling)
                if path is not None and os.path.isfile(path):
                    return self._exact(str(path.relative_to(self._root)))
        path = self._exact(link)
        if not path.is_file():
            raise UnreadableImageError("there is no such file")
        return path

    def _exact(self, link: str) -> Path:
        """The path of `link`, symbolic links followed. Raises `UnreadableImageError` for one outside of the folder."""
        path = (self._root / link).resolve()
        if not path.is_relative_to(self._root):
            raise UnreadableImageError("the path leaves the folder of the images")
        return path

    def _recomposed(self, link: str) -> Path | None:
        """The path of `link` where each name may be on the disk in another Unicode normal form."""
        path = self._root
        for part in Path(link).parts:
            if part in ("..", "/"):
                return None
            found = path / part
            if not part.isascii() and not os.path.lexists(found):
                with self._lock:
                    name = self._composed(path).get(unicodedata.normalize("NFC", part))
                if name is None:
                    return None
                found = path / name
            path = found
        return path


def spellings(link: str) -> Iterator[str]:
    """The ways in which a shop may have meant `link`: as it is, with `/` for backslashes, without `%20` and `?v=2`."""
    for text in dict.fromkeys((link, link.partition("?")[0].partition("#")[0])):
        for slashed in dict.fromkeys((text, text.replace("\\", "/"))):
            yield from dict.fromkeys((slashed, unquote(slashed)))


def composed_names(folder: Path) -> dict[str, str]:
    """The names of `folder` that are not ASCII, by their composed form (NFC). Macs store names decomposed (NFD)."""
    try:
        with os.scandir(folder) as entries:
            return {
                unicodedata.normalize("NFC", entry.name): entry.name for entry in entries if not entry.name.isascii()
            }
    except OSError:
        return {}
