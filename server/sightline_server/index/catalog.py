"""Opening a catalog, one that was built or one with a log, and reading what it states about itself.

Rule: what cannot be trusted is refused. A catalog is opened only when its rows are those that were written, whole and
unchanged, and its vectors come from the embedder that is in use.
"""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog.base import UNREADABLE, panics
from sightline_server.catalog.content import Content, is_living, read_content, read_revision, revision_name
from sightline_server.catalog.digest import SumDigest
from sightline_server.catalog.log import read_current, read_recorded
from sightline_server.domain.embedders import Embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adaptation import stored_adaptation
from sightline_server.index.dataset import batches, damaged, open_dataset, revision_of
from sightline_server.index.opened_catalog import Catalog, Moment, assemble, empty_catalog
from sightline_server.index.schema import CatalogFacts, catalog_schema, living_facts
from sightline_server.index.staging import require_utf8

REOPENINGS = 3


def read_facts(path: Path) -> CatalogFacts:
    """The facts that the catalog at `path` states about itself, without reading its rows. Errors as `open_catalog`."""
    if is_living(path):
        return facts_of(read_content(path))
    return CatalogFacts.parse(open_dataset(path).schema.metadata)


def read_identity(path: Path) -> tuple[str, str]:
    """The revision at `path` and when it was built, without reading its rows. Errors as `open_catalog`."""
    if is_living(path):
        recorded = read_recorded(path)
        return revision_name(recorded), recorded.current.created_at
    dataset = open_dataset(path)
    facts = CatalogFacts.parse(dataset.schema.metadata)
    return revision_of(dataset, facts), facts.built_at


def open_catalog(
    path: Path, embedders: Embedders | None = None, *, may_be_empty: bool = False, number: int | None = None
) -> Catalog:
    """Reads and checks the catalog at `path`, and binds it to one of `embedders` where those are given.

    With `may_be_empty`, a catalog with a log may have no products. A catalog that is replaced meanwhile is read again.
    With `number`, the content of that kept revision of a catalog with a log, which need not be the current one.
    Raises `SightlineError` of kind CONFIGURATION that says what is wrong and what to do.
    """
    for _ in range(REOPENINGS):
        before = state_of(path)
        try:
            catalog = read_catalog(path, embedders, may_be_empty=may_be_empty, number=number)
        except SightlineError:
            if state_of(path) == before:
                raise
            continue
        # The rows of a catalog with a log are of one moment whatever was written meanwhile.
        if is_living(path) or state_of(path) == before:
            return catalog
    raise SightlineError(ErrorKind.CONFIGURATION, f"the catalog at {path} was replaced repeatedly while it was opened")


def state_of(path: Path) -> tuple[int, ...] | None:
    """Facts that change when another catalog or version is put at `path`, but not when a log is written to."""
    if not is_living(path):
        return folder_identity(path)
    try:
        current = read_current(path)
        return path.stat().st_ino, current.generation, current.base_version or 0
    except (SightlineError, OSError):
        return None


def folder_identity(path: Path) -> tuple[int, int] | None:
    """The identity of the directory at `path`: its inode number, which is soon used again, and its time of change."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def read_catalog(
    path: Path, embedders: Embedders | None, *, may_be_empty: bool = False, number: int | None = None
) -> Catalog:
    """One attempt of `open_catalog`."""
    if is_living(path):
        return read_living(path, embedders, may_be_empty=may_be_empty, number=number)
    dataset = open_dataset(path)
    facts = bound(path, CatalogFacts.parse(dataset.schema.metadata), embedders)
    if dataset.schema.remove_metadata() != catalog_schema(facts.embedder.dimension):
        raise damaged(path, "its columns are not those of a catalog")
    try:
        return assemble(path, revision_of(dataset, facts), facts, batches(dataset))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, "its files cannot be read") from error


def read_living(
    path: Path, embedders: Embedders | None, *, may_be_empty: bool = False, number: int | None = None
) -> Catalog:
    """One attempt of `open_catalog` at a catalog with a log."""
    require_utf8(path)
    try:
        with panics():
            content = read_content(path) if number is None else read_revision(path, number)
            facts = bound(path, facts_of(content), embedders)
            moment = Moment(content.recorded.current, content.recorded.last_seq)
            if not content.rows and may_be_empty:
                return adapted(empty_catalog(path, content.revision, facts), moment)
            if not content.rows:
                message = f"the catalog at {path} has no products; add some with: sightline catalog upsert"
                raise SightlineError(ErrorKind.CONFIGURATION, message)
            catalog = assemble(path, content.revision, facts, content.batches(), SumDigest())
            return adapted(catalog, moment)
    except UNREADABLE as error:
        raise damaged(path, "its files cannot be read") from error


def adapted(catalog: Catalog, moment: Moment) -> Catalog:
    """The catalog with what was fitted for its moment. Raises `SightlineError` of kind CONFIGURATION."""
    found = stored_adaptation(catalog.path, moment.revision.adapter, catalog.facts.embedder.dimension)
    return replace(catalog, content=moment, adapter=found.adapter, weights=found.weights, verdict=found.verdict)


def facts_of(content: Content) -> CatalogFacts:
    """The facts of a catalog with a log."""
    counts = {"products": content.rows, "vectors": content.items, "max_images": content.most_items}
    return living_facts(content.facts, counts | {"content_sha256": content.digest, "built_at": content.created_at})


def bound(path: Path | str, facts: CatalogFacts, embedders: Embedders | None) -> CatalogFacts:
    """The facts with the served embedder that makes such vectors; as they are where nothing is served.

    Raises `SightlineError` of kind CONFIGURATION when the vectors are of none of `embedders`.
    """
    if embedders is None:
        return facts
    try:
        return replace(facts, embedder=embedders.serving(facts.embedder))
    except SightlineError as error:
        message = (
            f"the catalog at {path} was made with another embedder: {error.message}. "
            "Build it again with the engine that is in use, or serve it with the engine that it was made with"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
