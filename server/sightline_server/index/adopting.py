"""Format 1 -> format 2: a catalog that was built once gets a log, on its first write.

    DIR (one Lance dataset)  ->  DIR.partial-<pid>/{base.lance, log.sqlite}  ->  DIR, in one step
Rule: until that step DIR is as it was. The rows are checked before, and none is copied where the filesystem has hard
links; what was built is revision 1.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lance

from sightline_server.catalog.base import BASE, UNREADABLE, panics
from sightline_server.catalog.content import is_living
from sightline_server.catalog.founding import found_catalog
from sightline_server.catalog.operations import Layout
from sightline_server.catalog.originals_file import KINDS
from sightline_server.catalog.refusals import refusal
from sightline_server.catalog.replica_mark import require_not_replica
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice.shelf import FOLDER
from sightline_server.index.schema import FACTS_KEY, catalog_schema
from sightline_server.index.staging import Staging

HEAVY = ("images", "embeddings")
"""The columns that an update of price or stock keeps."""
NOTE: dict[str, str | None] = {FACTS_KEY.decode(): '{"format": 2}'}
"""Metadata of a base, so that it is not taken for a catalog of format 1 without its log."""


def adopt(path: Path, *, actor: str = "") -> bool:
    """Gives the catalog at `path` a log if it has none. Returns whether it did.

    Raises `SightlineError` of kind CONFIGURATION when there is no catalog or it is damaged; it is then as it was.
    """
    require_not_replica(path)
    if is_living(path):
        return False
    catalog = open_catalog(path)
    facts = {key.decode(): text.decode() for key, text in catalog.facts.metadata().items()}
    with new_file_errors(path), Staging(path, replace=True) as staging:
        if is_living(path):
            return False
        base = staging.path / BASE
        link_tree(staging.out, base)
        for name in (FOLDER, *(kind.file for kind in KINDS)):  # they belong to the catalog, not to its rows
            if (base / name).exists():
                (base / name).rename(staging.path / name)
        dataset = lance.dataset(str(base))
        dataset.update_schema_metadata(NOTE, replace=True)
        version = lance.dataset(str(base)).version
        layout = Layout(catalog_schema(catalog.facts.embedder.dimension), HEAVY)
        first = found_catalog(staging.path, layout, facts, version, created_at=catalog.facts.built_at, actor=actor)
        if (first.rows, first.items) != (catalog.facts.products, catalog.facts.vectors):
            raise SightlineError(ErrorKind.CONFIGURATION, f"the catalog at {path} was changed meanwhile; try again")
        staging.publish()
    return True


@contextmanager
def new_file_errors(path: Path) -> Iterator[None]:
    """Turns errors of the new files into `SightlineError`; the catalog itself was just read."""
    try:
        with panics():
            yield
    except UNREADABLE as error:
        found = refusal(error, path.parent)
        message = f"cannot write a log for {path} ({found.reason}); {found.remedy}. The catalog is as it was"
        raise SightlineError(found.kind, message) from error


def link_tree(source: Path, target: Path) -> None:
    """Makes `target` with the files of `source`: hard links, or copies where there are none."""
    for folder, _, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True)
        for name in files:
            link_file(Path(folder) / name, here / name)


def link_file(source: Path, target: Path) -> None:
    """One file of `link_tree`. Lance never changes a file that it has written."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
