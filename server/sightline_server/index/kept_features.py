"""The local features of a catalog's images, joined with its rows.

    pixels of an image -> features -> CatalogRow.features -> linked just before the row is written -> read by searches
Rule: an image is known by its product and its link, which a search has at hand. They do not depend on the embedder, so
a catalog that gets another one keeps them. Of images that follow each other under one link, those of the newest count,
also in an earlier revision.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog.originals_file import FEATURE_FILES
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.index.originals import KEY_BYTES, KeepingRule, KeptOriginals, needed_keys

COLUMNS = ("id", "images")


def feature_key(product_id: str, link: str) -> bytes:
    """Bytes that name an image of a product."""
    owner = product_id.encode("utf-8", "surrogatepass")
    name = link.encode("utf-8", "surrogatepass")
    return blake2b(len(owner).to_bytes(8, "big") + owner + name, digest_size=KEY_BYTES).digest()


def stored_feature_keys(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The names of all images of stored rows."""
    for product_id, links in zip(batch["id"].to_pylist(), batch["images"].to_pylist(), strict=True):
        for link in links:
            yield feature_key(product_id, link)


def feature_links(rows: Sequence[CatalogRow]) -> Iterator[tuple[bytes, str]]:
    """The name and the file of each image of `rows` that has features."""
    for row in rows:
        for link, file in zip(row.images, row.features, strict=False):
            if file:
                yield feature_key(row.product.id, link), file


def needed_features(path: Path) -> set[bytes]:
    """The names of all images of the kept revisions of the catalog at `path`, and of the operations in its log.

    About 80 bytes of memory an image. Raises `SightlineError`.
    """
    return needed_keys(path, COLUMNS, stored_feature_keys)


def kept_features(path: Path) -> KeptOriginals:
    """The local features of the catalog at `path` for its writer."""
    return KeptOriginals(path, FEATURES_RULE)


FEATURES_RULE = KeepingRule(FEATURE_FILES, feature_links, needed_features)
