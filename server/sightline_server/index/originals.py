"""The original images of a catalog, joined with its rows: which image was made from which file.

    bytes of an image -> add -> CatalogRow.originals -> linked just before the row is written -> source of a reembedding
Rule: an image is known by its link and its embedding as they are stored, so each revision has its own files, and rows
need no further column. Files that no kept revision needs are removed when revisions lose their content.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.base import Base
from sightline_server.catalog.log import read_recorded
from sightline_server.catalog.originals import Originals
from sightline_server.catalog.originals_file import (
    IMAGE_FILES,
    Kind,
    create_originals,
    discard_originals,
    keeps_originals,
)
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.errors import SightlineError
from sightline_server.index.stored_rows import stored_rows

log = logging.getLogger(__name__)

KEY_BYTES = 16
IMAGE_COLUMNS = ("images", "embeddings")


def image_key(link: str, embedding: NDArray[np.floating]) -> bytes:
    """Bytes that name a stored image; `embedding` [D] counts as it is stored, in float16."""
    name = link.encode("utf-8", "surrogatepass")
    stored = embedding.astype("<f2").tobytes()
    return blake2b(len(name).to_bytes(8, "big") + name + stored, digest_size=KEY_BYTES).digest()


def keys_of(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The names of all images of stored rows, in order."""
    links = batch["images"].flatten().to_pylist()
    vectors = batch["embeddings"].flatten()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    yield from map(image_key, links, flat.reshape(len(links), -1) if links else [])


def stored_keys(path: Path) -> dict[str, tuple[bytes, ...]]:
    """The names of the images of each product of the catalog at `path` as it is now, by product id; without a lock.

    About 150 bytes of memory a product, and 50 an image. Raises `SightlineError` of kind CONFIGURATION.
    """
    found: dict[str, tuple[bytes, ...]] = {}
    for batch in stored_rows(path).columns(("id", *IMAGE_COLUMNS)):
        keys = keys_of(batch)
        counts = batch["images"].value_lengths().to_pylist()
        found.update(
            (row_id, tuple(islice(keys, count))) for row_id, count in zip(batch["id"].to_pylist(), counts, strict=True)
        )
    return found


def row_keys(row: CatalogRow) -> list[bytes]:
    """The names of the images of one product."""
    return list(map(image_key, row.images, row.embeddings))


def links_of(rows: Sequence[CatalogRow]) -> Iterator[tuple[bytes, str]]:
    """The name and the file of each image of `rows` that has one."""
    for row in rows:
        if row.originals:
            yield from ((key, file) for key, file in zip(row_keys(row), row.originals, strict=True) if file)


@dataclass(frozen=True, slots=True)
class KeepingRule:
    """The files of one `kind`: `links` has the name of each image of rows and its file, `needed` the names to keep."""

    kind: Kind
    links: Callable[[Sequence[CatalogRow]], Iterator[tuple[bytes, str]]]
    needed: Callable[[Path], set[bytes]]


class KeptOriginals:
    """The files of the catalog at `path` for its writer, from `open` to `close`; without any it does nothing.

    They are its originals, or what another `rule` says.
    """

    def __init__(self, path: Path, rule: "KeepingRule | None" = None) -> None:
        self._path = path
        self._rule = rule or ORIGINALS_RULE
        self._store: Originals | None = None
        self._swept_at = 0
        self._holders = 0

    @property
    def kept(self) -> bool:
        """Returns whether the catalog keeps such files."""
        return self._store is not None

    def open(self, revisions: Sequence[Revision]) -> None:
        """Opens what is there. `revisions` are those of now. Raises `SightlineError` as `Originals`."""
        self._swept_at = oldest_kept(revisions)
        if keeps_originals(self._path, self._rule.kind):
            self._store = Originals(self._path, self._rule.kind)

    def switch(self, keep: bool) -> None:
        """Keeps files of rows that are written from now on, or removes those that are kept."""
        if keep and self._store is None:
            create_originals(self._path, self._rule.kind)
            self._store = Originals(self._path, self._rule.kind)
        elif not keep and self._store is not None:
            self.close()
            discard_originals(self._path, self._rule.kind)

    def add(self, image: bytes) -> str:
        """Stores the file of an image. Returns its name for `CatalogRow.originals`, empty where none are kept."""
        return self._store.add(image) if self._store is not None else ""

    def link(self, rows: Sequence[CatalogRow]) -> None:
        """Notes the files of rows that are written next. They are on the disk when this returns."""
        if self._store is not None:
            self._store.link(self._rule.links(rows))

    def content(self, image: bytes) -> bytes | None:
        """The file of a stored image; None where none is kept."""
        return self._store.content(image) if self._store is not None else None

    def name(self, image: bytes) -> str:
        """The name of the file of a stored image; empty where none is kept."""
        return self._store.name(image) if self._store is not None else ""

    def link_images(self, images: Sequence[tuple[bytes, str]]) -> None:
        """As `link`, for images by their names and the names of their files."""
        if self._store is not None:
            self._store.link((image, file) for image, file in images if file)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets `tidy` remove nothing: images are linked whose revision is not recorded yet."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    def tidy(self, revisions: Sequence[Revision]) -> None:
        """Removes what no kept revision needs, where revisions have lost their content since the last time.

        On the writer's thread. What fails is logged: it is tried again with the next revision that goes.
        """
        oldest = oldest_kept(revisions)
        if self._store is None or self._holders or oldest == self._swept_at:
            return
        try:
            self.sweep()
        except SightlineError as error:
            log.warning("%s that are not needed were not removed: %s", self._rule.kind.name, error.message)
        else:
            self._swept_at = oldest

    def sweep(self, *, idle: bool = False) -> int:
        """Removes what no kept revision and no write needs. Returns the number of files. See `Originals.sweep`."""
        if self._store is None:
            return 0
        return self._store.sweep(self._rule.needed(self._path), idle=idle)

    def seal(self) -> None:
        """Ends the writing of a catalog that is built: every file has a row, and nothing but one file is left."""
        if self._store is not None:
            self._store.seal()
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._store is not None:
            self._store.close()
            self._store = None


def oldest_kept(revisions: Sequence[Revision]) -> int:
    """The number of the oldest revision whose content is kept."""
    return min((each.number for each in revisions if each.base_version is not None), default=0)


def needed_images(path: Path) -> set[bytes]:
    """The names of all images of the kept revisions of the catalog at `path`, and of the operations in its log.

    Files that revisions share are read once. About 80 bytes of memory an image. Raises `SightlineError`.
    """
    return needed_keys(path, IMAGE_COLUMNS, keys_of)


def needed_keys(path: Path, columns: Sequence[str], keys: Callable[[pa.RecordBatch], Iterable[bytes]]) -> set[bytes]:
    """The results of `keys` on `columns` of all kept rows of the catalog at `path`, as `needed_images`."""
    recorded = read_recorded(path)
    seen, found = set[str](), set[bytes]()
    for revision in recorded.revisions:
        if revision.base_version is not None:
            base = Base(path, revision.base_version, revision.generation)
            for batch in base.new_parts(seen, columns):
                found.update(keys(batch))
    for operation in recorded.operations:
        if operation.row is not None and set(columns) <= set(operation.row.schema.names):
            found.update(keys(operation.row))
    return found


ORIGINALS_RULE = KeepingRule(IMAGE_FILES, links_of, needed_images)
