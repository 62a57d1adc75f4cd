"""The catalog that a build replaces: its size, and its facts."""

from pathlib import Path

from sightline_server.catalog.content import is_living
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import read_facts
from sightline_server.index.image_counts import image_count
from sightline_server.index.schema import CatalogFacts
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.guard import Size


def catalog_size(out: Path) -> Size | None:
    """The size of the catalog at `out`; None where there is none, 0 products where it cannot be read."""
    if not (out / "_versions").is_dir() and not is_living(out):
        return None
    try:
        stored = stored_rows(out)
        return Size(stored.facts.products, image_count(stored))
    except SightlineError:
        return Size(0, 0)


def facts_at(out: Path) -> CatalogFacts | None:
    """The facts of the catalog at `out`; None where there is none, or it cannot be read."""
    try:
        return read_facts(out)
    except SightlineError:
        return None
