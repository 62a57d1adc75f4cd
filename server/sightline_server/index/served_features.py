"""The local features of a catalog's images, as searches read them.

Rule: each reading opens the file and closes it, which takes less than the reading itself. So nothing has to be closed
with a revision, and features that are written while the catalog is served are there with the next search.
"""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sightline_server.catalog.originals_file import FEATURE_FILES, file_errors, keeps_originals, read_only
from sightline_server.domain.feature_bytes import decode
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.index.kept_features import feature_key
from sightline_server.ports import ImageFeatures

# A damaged row may have a content of another type, which would fail the reading of the others.
QUERY = (
    "SELECT sha256, CAST(content AS BLOB) FROM images JOIN files USING (number) JOIN contents USING (number) "
    "WHERE image = ?"
)


class ServedFeatures:
    """`ports.ImageFeatures` of the catalog in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FEATURE_FILES.file

    def of(self, images: Sequence[tuple[str, str]]) -> list[LocalFeatures | None]:
        """See `ports.ImageFeatures`. Those that are damaged count as none."""
        remedy = FEATURE_FILES.remedy
        with file_errors(self._path, remedy), closing(read_only(self._path, remedy)) as connection:
            rows = [connection.execute(QUERY, (feature_key(*image),)).fetchone() for image in images]
        return [None if row is None else whole(*row) for row in rows]


def whole(sha256: bytes, content: bytes) -> LocalFeatures | None:
    """The features in `content`; None where it is not what was stored."""
    return decode(content) if hashlib.sha256(content).digest() == sha256 else None


def served_features(folder: Path) -> ImageFeatures | None:
    """The local features of the catalog in `folder`; None where it keeps none."""
    return ServedFeatures(folder) if keeps_originals(folder, FEATURE_FILES) else None
