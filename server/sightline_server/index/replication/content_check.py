"""The check of a fetched revision: every row is read, and their digest must be the published one.

Rule: reads the rows one batch after the other, so it needs no memory for the catalog as a whole.
"""

from pathlib import Path

from sightline_server.catalog.base import UNREADABLE, panics
from sightline_server.catalog.verify import checked_revision
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import read_identity
from sightline_server.index.dataset import batches, open_dataset
from sightline_server.index.digest import ContentDigest
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.schema import CatalogFacts, catalog_schema


def require_published(folder: Path, description: Description) -> None:
    """Raises `NotFollowedError` with DAMAGED unless the catalog at `folder` is the revision that was published."""
    try:
        with panics():
            whole = is_whole(folder, description)
    except (SightlineError, KeyError, *UNREADABLE) as error:
        raise damaged(description) from error
    if not whole:
        raise damaged(description)


def is_whole(folder: Path, description: Description) -> bool:
    """Returns whether name and digest of the catalog at `folder` are those of `description`."""
    name, _ = read_identity(folder)
    if name != description.name:
        return False
    if (living := description.living) is not None:
        return checked_revision(folder, living.layout, living.revision).good
    dataset = open_dataset(folder)
    facts = CatalogFacts.parse(dataset.schema.metadata)
    digest = ContentDigest(catalog_schema(facts.embedder.dimension).names)
    for batch in batches(dataset):
        digest.update(batch)
    return digest.hexdigest() == facts.content_sha256


def damaged(description: Description) -> NotFollowedError:
    """The error of a revision whose content is not what its publisher had."""
    message = (
        f"the content of revision {description.name} is not what its digest says; run `sightline catalog verify` on "
        "the publisher's catalog, and publish it again"
    )
    return NotFollowedError(Reason.DAMAGED, message)
