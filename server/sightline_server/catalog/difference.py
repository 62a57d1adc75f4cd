"""The rows by which two versions of a base differ, found without reading what they share.

Rule: Lance never changes a file of rows, so the rows of a file that both versions have are equal, and only their
deletions are compared. After a compaction no file is shared, and everything differs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.base import opened, reading_errors
from sightline_server.catalog.generations import FIRST, base_name
from sightline_server.catalog.operations import KEY

ADDRESS = "_rowaddr"


@dataclass(frozen=True, slots=True)
class Difference:
    """The change from one version to another: the rows of the ids `removed` go, `added` come; an id may be in both."""

    removed: Sequence[str]
    added: pa.Table


def difference(folder: Path, before: int, after: int, most: int, generation: int = FIRST) -> Difference | None:
    """The difference of two versions of the base of `generation`; None where it has more than `most` rows.

    Raises `SightlineError` of kind CONFIGURATION when the files are missing or damaged.
    """
    path = folder / base_name(generation)
    old, new = opened(path, before), opened(path, after)
    with reading_errors(path, after):
        was, now = parts_of(old), parts_of(new)
        removed = [row_id for place, part in was.items() for row_id in part.ids_without(now.get(place))]
        places = [row for place, part in now.items() for row in part.places_without(was.get(place))]
        return None if max(len(removed), len(places)) > most else Difference(removed, new.take(places))


@dataclass(frozen=True, slots=True)
class Part:
    """A fragment of a version, whose first row is row `start` of it; `deleted` identifies its deleted rows."""

    fragment: Any
    start: int
    deleted: str

    def ids_without(self, other: "Part | None") -> list[str]:
        """The ids of the rows that `other`, which has the same files, does not have."""
        if self._equals(other):
            return []
        rows = self._rows()
        ids: list[str] = rows[KEY].filter(pa.array(self._only_here(rows, other))).to_pylist()
        return ids

    def places_without(self, other: "Part | None") -> list[int]:
        """The positions in the version of those rows."""
        if self._equals(other):
            return []
        places: list[int] = (np.flatnonzero(self._only_here(self._rows(), other)) + self.start).tolist()
        return places

    def _equals(self, other: "Part | None") -> bool:
        """Returns whether the same rows were deleted."""
        return other is not None and self.deleted == other.deleted

    def _rows(self) -> pa.Table:
        """Id and address of each row."""
        return self.fragment.to_table(columns=[KEY], with_row_address=True)

    def _only_here(self, rows: pa.Table, other: "Part | None") -> NDArray[np.bool_]:
        if other is None:
            return np.ones(rows.num_rows, bool)
        return ~np.isin(rows[ADDRESS].to_numpy(), other._rows()[ADDRESS].to_numpy())


def parts_of(dataset: Any) -> Mapping[str, Part]:
    """The fragments of a version in its order, each by all that is known of it but its deleted rows."""
    parts, start = {}, 0
    for each in dataset.get_fragments():
        facts = dict(each.metadata.to_json())
        # With the name of its file: two different ones with as many rows have the same `repr`.
        deleted = json.dumps(facts.pop("deletion_file"), sort_keys=True)
        parts[json.dumps(facts, sort_keys=True)] = Part(each, start, deleted)
        start += each.count_rows()
    return parts
