"""The base: a Lance dataset of which exactly one version counts, the one that the log records.

Rule: a new version is complete and on the disk before the log names it. Until then it can be dropped without a trace.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sightline_server.catalog import manifests
from sightline_server.catalog.durable import NewFiles
from sightline_server.catalog.generations import BASE as BASE
from sightline_server.catalog.generations import FIRST, base_name
from sightline_server.catalog.operations import KEY
from sightline_server.errors import ErrorKind, SightlineError

# Lance reads it once, at its import; its warnings are about what is done here on purpose.
os.environ.setdefault("LANCE_LOG", "error")

import lance

BATCH_ROWS = 4096
UNREADABLE = (OSError, ValueError, RuntimeError, pa.ArrowException)
"""The exceptions of Lance and Arrow about files that are missing, damaged or cannot be written."""
TAGS = "_refs/tags"
ANY_AGE = timedelta(days=-36_500)
"""An age that every version has, also one that was made before the clock was set back."""
TAKEN_ROWS, TAKEN_SHARE = 256, 0.01
"""Rows that Lance looks up one by one, in number and as a share of all; more are read in one pass. A lookup in lists of
vectors takes 0.5 ms among 100,000 rows, the pass 0.2 s."""
MAX_FRAGMENTS = 64
"""Files of rows that are read one after the other without compaction."""


class Base:
    """The dataset of `generation` in `folder`, opened at `version`.

    Readers use it without a lock; `replace`, `restore`, `compact` and `clean` are for the writer, one at a time.
    """

    def __init__(self, folder: Path, version: int, generation: int = FIRST) -> None:
        self._path = folder / base_name(generation)
        self._dataset = opened(self._path, version)
        self._positions: dict[str, int] | None = None

    @property
    def version(self) -> int:
        """The version that counts."""
        return int(self._dataset.version)

    @property
    def schema(self) -> pa.Schema:
        """The columns, without metadata of the dataset."""
        found: pa.Schema = self._dataset.schema.remove_metadata()
        return found

    def count(self) -> int:
        """The number of rows. Raises as `rows`."""
        with reading_errors(self._path, self.version):
            return int(self._dataset.count_rows())

    def fragments(self) -> int:
        """The number of files of rows."""
        return len(self._dataset.get_fragments())

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, whole or with some `columns` only. Raises as `rows`."""
        names = None if columns is None else list(columns)
        with reading_errors(self._path, self.version):
            yield from self._dataset.to_batches(columns=names, batch_size=BATCH_ROWS, scan_in_order=True)

    def new_parts(self, seen: set[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of the files of rows that are not in `seen`, which gets them. Raises as `rows`."""
        with reading_errors(self._path, self.version):
            for fragment in self._dataset.get_fragments():
                # The same rows have the same deletions.
                files = [file.path for file in fragment.data_files()]
                name = f"{self._path.name} {files} {fragment.deletion_file()}"
                if name not in seen:
                    yield from fragment.to_batches(columns=list(columns), batch_size=BATCH_ROWS)
                    seen.add(name)

    def __contains__(self, row_id: str) -> bool:
        """Returns whether there is a row of `row_id`."""
        return row_id in self.positions()

    def positions(self) -> dict[str, int]:
        """The position of each id in the order of the rows; kept in memory from the first call on. Raises as `rows`."""
        if self._positions is None:
            with reading_errors(self._path, self.version):
                ids = self._dataset.to_table(columns=[KEY], scan_in_order=True)[KEY].to_pylist()
            self._positions = {row_id: place for place, row_id in enumerate(ids)}
        return self._positions

    def rows(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of those of `ids` that there are, with all columns or with `columns`.

        Raises `SightlineError` of kind CONFIGURATION when the files of rows are missing or damaged.
        """
        positions = self.positions()
        places = sorted({positions[row_id] for row_id in ids if row_id in positions})
        with reading_errors(self._path, self.version):
            if len(places) > max(TAKEN_ROWS, TAKEN_SHARE * len(positions)):
                return self._scanned(places, columns)
            return self._dataset.take(places, columns=columns)

    def _scanned(self, places: Sequence[int], columns: Sequence[str] | None) -> pa.Table:
        """The rows at the sorted `places`, from one pass over all of them."""
        wanted, parts, start = np.array(places, np.int64), [], 0
        for batch in self._dataset.to_batches(columns=columns, batch_size=BATCH_ROWS, scan_in_order=True):
            first, last = np.searchsorted(wanted, [start, start + batch.num_rows])
            parts.append(batch.take(pa.array(wanted[first:last] - start)))
            start += batch.num_rows
        return pa.Table.from_batches(parts)

    def recover(self, version: int) -> list[Path]:
        """Moves versions after `version` aside and opens `version`. Returns what was moved."""
        moved = manifests.quarantine(self._path, version)
        if moved or self.version != version:
            self._dataset = opened(self._path, version)
            self._positions = None
        return moved

    def replace(self, ids: Sequence[str], rows: pa.Table) -> None:
        """Makes a version without the rows of `ids` and with `rows`. `ids` holds the ids of `rows`, each once."""
        old = [row_id for row_id in ids if row_id in self]
        expected = self.count() - len(old) + rows.num_rows
        # Two plain steps instead of a merge, which has reported success and changed nothing before (lance#8949).
        if old:
            self._dataset.delete(f"{KEY} IN ({', '.join(map(quoted, old))})")
        if rows.num_rows:
            self._dataset = lance.write_dataset(aligned(rows), self._dataset, mode="append")
        self._positions = None
        if self.count() != expected:
            message = (
                f"{self._path} has {self.count()} rows after a checkpoint, expected {expected}; nothing was changed"
            )
            raise SightlineError(ErrorKind.INTERNAL, message)

    def restore(self, version: int) -> None:
        """Makes a version with the rows of the earlier one `version`."""
        self._dataset = opened(self._path, version)
        self._dataset.restore()
        self._positions = None

    def compact(self) -> None:
        """Makes a version with the same rows in few files, without deleted ones."""
        self._dataset.optimize.compact_files()
        self._dataset = lance.dataset(str(self._path))
        self._positions = None

    def set_tags(self, versions: Mapping[int, int]) -> None:
        """Marks the version of each revision, so that `clean` keeps it, and removes all other marks.

        Marks follow from the log: those that cannot be read are made again. A version without a manifest gets none.
        """
        there = manifests.versions(self._path)
        wanted = {tag_name(number): version for number, version in versions.items() if version in there}
        found = self._tags()
        for name, version in found.items():
            if wanted.get(name) != version:
                self._dataset.tags.delete(name)
        for name, version in wanted.items():
            if found.get(name) != version:
                self._dataset.tags.create(name, version)

    def _tags(self) -> dict[str, int]:
        """The version of each mark."""
        try:
            listed = self._dataset.tags.list()
        except UNREADABLE:
            shutil.rmtree(self._path / TAGS, ignore_errors=True)
            listed = self._dataset.tags.list()
        return {name: tag["version"] for name, tag in listed.items()}

    def clean(self) -> None:
        """Removes the files of every version that is neither the current one nor marked, whatever their times."""
        self._dataset.cleanup_old_versions(
            older_than=ANY_AGE, delete_unverified=True, error_if_tagged_old_versions=False
        )

    def files(self) -> list[str]:
        """The files of this version, as paths within the dataset. Raises as `rows`."""
        with reading_errors(self._path, self.version):
            return version_files(self._dataset, self._path)

    def new_files(self) -> NewFiles:
        """A record of the files of now, which brings later ones to the disk."""
        return NewFiles(self._path)


def opened(path: Path, version: int) -> Any:
    """The dataset at `path` in `version`. Raises `SightlineError` of kind CONFIGURATION when it cannot be opened."""
    with reading_errors(path, version):
        return lance.dataset(str(path), version=version)


def version_files(dataset: Any, path: Path) -> list[str]:
    """The files of an opened version of the dataset at `path`, as paths within it: rows, deletions, the manifest.

    They are never changed. Raises `FileNotFoundError` when the version was removed meanwhile.
    """
    names = [f"{manifests.VERSIONS}/{manifests.manifest_name(path, int(dataset.version))}"]
    for fragment in dataset.get_fragments():
        names += [f"data/{file.path}" for file in fragment.data_files()]
        if (deleted := fragment.deletion_file()) is not None:
            names.append(deleted)
    return names


@contextmanager
def reading_errors(path: Path, version: int) -> Iterator[None]:
    """Turns errors of the files of `version` into `SightlineError` of kind CONFIGURATION."""
    try:
        with panics():
            yield
    except UNREADABLE as error:
        message = (
            f"version {version} of {path} cannot be read; its files are missing or damaged. "
            "Restore the catalog's folder from a backup, or build the catalog again"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error


def aligned(rows: pa.Table) -> pa.Table:
    """A copy of `rows` in memory that is aligned as Lance needs it; bytes from SQLite can begin anywhere."""
    return rows.combine_chunks().take(pa.array(range(rows.num_rows), pa.int64()))


@contextmanager
def panics() -> Iterator[None]:
    """Turns a panic of Lance's Rust code into a `RuntimeError`; it would end the process like Ctrl-C."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(f"Lance failed: {error}") from error


def tag_name(number: int) -> str:
    """The mark of revision `number`."""
    return f"revision-{number}"


def quoted(text: str) -> str:
    """`text` as a literal of a filter."""
    return "'" + text.replace("'", "''") + "'"
