"""The content of a catalog for a reader: the recorded version of the base with the log's operations applied.

Rule: a reader takes no lock and changes nothing. What it reads is checked: the rows that it gives sum up to the digest
of the revision and its operations.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sightline_server.catalog.base import BASE, Base
from sightline_server.catalog.delta import Delta, materialised
from sightline_server.catalog.digest import MODULUS, hexadecimal, total
from sightline_server.catalog.log import Recorded, read_recorded
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.operations import KEY
from sightline_server.catalog.revisions import Revision, kept_revision


def is_living(folder: Path) -> bool:
    """Returns whether `folder` holds a catalog of format 2, also a damaged one."""
    return (folder / LOG).exists() or (folder / BASE).is_dir()


def revision_name(recorded: Recorded) -> str:
    """The name of the recorded content: that of its revision, with the number of operations after it."""
    return name_at(recorded.current, recorded.last_seq)


def name_at(current: Revision, seq: int) -> str:
    """The name of the content after operation `seq`, on top of revision `current`."""
    pending = seq - current.seq
    return f"{current.number}+{pending}-{current.mark}" if pending else current.name


class Change:
    """The difference that some rows make to the facts of a catalog when they replace others."""

    def __init__(self, old: pa.Table, new: pa.Table, heavy: str) -> None:
        self.rows = new.num_rows - old.num_rows
        self.items = item_count(new, heavy) - item_count(old, heavy)
        self.most_items = pc.max(pc.list_value_length(new[heavy])).as_py() or 0 if new.num_rows else 0
        self.digest = total(new) - total(old)

    def digest_after(self, digest: str) -> str:
        """The digest of a content that had `digest` before the change."""
        return hexadecimal((int(digest, 16) + self.digest) % MODULUS)


def item_count(rows: pa.Table, heavy: str) -> int:
    """The number of vectors of `rows`."""
    return int(pc.sum(pc.list_value_length(rows[heavy])).as_py() or 0)


class Content:
    """The content of the catalog at `folder`: its facts at once, its rows when they are asked for."""

    def __init__(self, folder: Path, recorded: Recorded) -> None:
        self.recorded = recorded
        self.revision = revision_name(recorded)
        self._base = Base(folder, recorded.base_version, recorded.current.generation)
        view = Delta(recorded.operations).at(recorded.last_seq)
        self._new = materialised(view, recorded.layout, self._base.rows)
        self._replaced = pa.array(sorted(view.replaced), pa.string())
        old = self._base.rows(sorted(view.replaced)) if view.replaced else recorded.layout.schema.empty_table()
        current = recorded.current
        change = Change(old, self._new, recorded.layout.heavy[-1])
        self.rows = current.rows + change.rows
        self.items = current.items + change.items
        self.most_items = max(current.most_items, change.most_items)
        self.digest = change.digest_after(current.digest)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the catalog was made with."""
        return self.recorded.facts

    @property
    def created_at(self) -> str:
        """The time of the revision, in ISO 8601."""
        return self.recorded.current.created_at

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows, in any order, whole or with some `columns` only."""
        names = self.recorded.layout.schema.names if columns is None else list(columns)
        for batch in self._base.batches(None if columns is None else [KEY, *(name for name in names if name != KEY)]):
            kept = batch
            if len(self._replaced):
                kept = batch.filter(pc.invert(pc.is_in(batch[KEY], self._replaced)))
            if kept.num_rows:
                yield kept.select(names)
        yield from self._new.select(names).to_batches()


def read_content(folder: Path) -> Content:
    """The content of the catalog at `folder`. Raises `SightlineError` of kind CONFIGURATION when it is damaged."""
    return Content(folder, read_recorded(folder))


def read_revision(folder: Path, number: int) -> Content:
    """The content of revision `number`, also of a prepared one or of another generation than the current one.

    Errors as `read_content`; INVALID_REQUEST where its content is not kept.
    """
    recorded = read_recorded(folder)
    revision = kept_revision(recorded.revisions, number)
    return Content(folder, replace(recorded, current=revision, operations=()))
