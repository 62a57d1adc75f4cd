"""Checks that a catalog is what its log says: every file readable, every row as it was written.

Rule: reads only, and without the lock, so that it can run next to a writer. What it finds is said for each revision.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline_server.catalog import manifests
from sightline_server.catalog.adapters import read_adapter
from sightline_server.catalog.base import UNREADABLE, Base, panics
from sightline_server.catalog.content import Content
from sightline_server.catalog.digest import SumDigest
from sightline_server.catalog.founding import tally
from sightline_server.catalog.generations import base_name, foreign_folders, newest_versions
from sightline_server.catalog.log import Recorded, read_recorded
from sightline_server.catalog.log_file import damaged, reading, require_log, sqlite_errors
from sightline_server.catalog.operations import KEY, Layout
from sightline_server.catalog.revisions import Revision
from sightline_server.counting import counted
from sightline_server.domain.image_views import item_word
from sightline_server.errors import ErrorKind, SightlineError

REPEATS = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, human-readable."""

    text: str
    good: bool = True


def verify(folder: Path, *, all_revisions: bool = False) -> Iterator[Finding]:
    """Checks the log, the current revision (or every one whose content is kept), and the operations after it.

    A checkpoint or a compaction meanwhile removes what is being read; the check begins again then. Raises
    `SightlineError` of kind CONFIGURATION when the log is missing or damaged.
    """
    check_log(folder)
    for attempt in range(REPEATS):
        recorded = read_recorded(folder)
        findings = [*checked_revisions(folder, recorded, all_revisions), checked_content(folder, recorded)]
        if all(finding.good for finding in findings) or attempt + 1 == REPEATS:
            break
        if read_recorded(folder).revisions == recorded.revisions:
            break
    since = counted(len(recorded.operations), "operation")
    yield Finding(f"log: {counted(len(recorded.revisions), 'revision')}, {since} after the last one")
    yield from findings
    yield from checked_adapters(folder, recorded, all_revisions)
    yield from leftovers(folder, recorded)


def check_log(folder: Path) -> None:
    """Reads every page of the log. Raises `SightlineError` of kind CONFIGURATION for a damaged one."""
    path = require_log(folder)
    with sqlite_errors(path), reading(path) as connection:
        answers = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    if answers != ["ok"]:
        raise damaged(path, answers[0])


def checked_revisions(folder: Path, recorded: Recorded, all_revisions: bool) -> Iterator[Finding]:
    """The current revision, or all whose content is kept, each compared with its facts."""
    kept = [each for each in recorded.revisions if each.base_version is not None]
    for revision in kept if all_revisions else [recorded.current]:
        generation = recorded.generations[revision.generation]
        yield checked_revision(folder, generation.layout, revision, item_word(generation.facts))


def checked_adapters(folder: Path, recorded: Recorded, all_revisions: bool) -> Iterator[Finding]:
    """The adapters of the revisions that are checked."""
    kept = [each for each in recorded.revisions if each.base_version is not None]
    checked = kept if all_revisions else [recorded.current]
    for sha256 in dict.fromkeys(each.adapter for each in checked if each.adapter):
        try:
            read_adapter(folder, sha256)
        except SightlineError:
            yield Finding(f"adapter {sha256[:12]}: it is missing or damaged", good=False)
        else:
            yield Finding(f"adapter {sha256[:12]}: intact")


def require_intact(folder: Path, layout: Layout, revision: Revision) -> None:
    """Raises `SightlineError` of kind CONFIGURATION when the content of `revision` is damaged."""
    found = checked_revision(folder, layout, revision)
    if not found.good:
        message = (
            f"{found.text}; nothing was changed. Choose another revision: `sightline catalog verify --all` says which "
            "ones are intact"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def checked_revision(folder: Path, layout: Layout, revision: Revision, item: str = "image") -> Finding:
    """Reads every row of a revision and compares number, ids, vectors and digest with the recorded ones.

    `item` is the word for a vector.
    """
    name = f"revision {revision.number}"
    assert revision.base_version is not None
    try:
        with panics():
            base = Base(folder, revision.base_version, revision.generation)
            if base.schema != layout.schema:
                return Finding(f"{name}: its columns are not those of the catalog", good=False)
            found = tally(base.batches(), layout.heavy[-1])
            ids = len(base.positions())
    except (SightlineError, *UNREADABLE):
        return Finding(f"{name}: its files are missing or damaged", good=False)
    expected = (revision.rows, revision.items, revision.digest)
    if ids != found.rows:
        return Finding(f"{name}: {counted(found.rows, 'row')} with {counted(ids, 'different id')}", good=False)
    if (found.rows, found.items, found.digest) != expected:
        text = content_text(found.rows, found.items, found.digest, item)
        wanted = content_text(revision.rows, revision.items, revision.digest, item)
        return Finding(f"{name}: its content is not what was written: {text}; expected {wanted}", good=False)
    return Finding(f"{name}: {content_text(revision.rows, revision.items, revision.digest, item)}: intact")


def content_text(rows: int, items: int, digest: str, item: str) -> str:
    """Counts and digest of a content, human-readable."""
    return f"{counted(rows, 'product')}, {counted(items, item)}, digest {digest[:12]}"


def checked_content(folder: Path, recorded: Recorded) -> Finding:
    """The content as a server reads it, with the operations of the log."""
    try:
        with panics():
            content = Content(folder, recorded)
            digest, ids, rows = SumDigest(), set[str](), 0
            for batch in content.batches():
                digest.update(batch)
                rows += batch.num_rows
                ids.update(batch[KEY].to_pylist())
    except (SightlineError, KeyError, *UNREADABLE) as error:
        return Finding(f"current content: cannot be read ({type(error).__name__})", good=False)
    if (rows, len(ids), digest.hexdigest()) != (content.rows, content.rows, content.digest):
        return Finding("current content: the log's operations do not fit the revision", good=False)
    return Finding(f"current content: {content.revision}, {counted(rows, 'product')}: intact")


def leftovers(folder: Path, recorded: Recorded) -> Iterator[Finding]:
    """Files beyond the recorded versions, which do no harm."""
    versions = newest_versions(recorded.revisions)
    newer = [
        path
        for generation, version in versions.items()
        for path in manifests.newer(folder / base_name(generation), version)
    ]
    for unnamed in foreign_folders(folder, versions):
        yield Finding(f"{unnamed.name} is of a preparation that runs or did not end; the next write removes the latter")
    if newer:
        yield Finding(
            f"{counted(len(newer), 'file')} of an unfinished checkpoint; the next write moves what is there aside"
        )
    quarantine = folder / manifests.QUARANTINE
    aside = len(list(quarantine.iterdir())) if quarantine.is_dir() else 0
    if aside:
        yield Finding(f"{counted(aside, 'file')} of unfinished checkpoints in {quarantine}, which may be removed")
