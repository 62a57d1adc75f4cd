"""The plan of another generation: which products have to be embedded, and which ones were embedded before.

    the content of now -> the origin of each row -> found in an earlier generation of the same embedder: reused
                                                 -> else: missing, to be embedded from its images
Rule: reads only and without the lock, at one moment of the log. What is written after it is found by its origins when
the generation is activated.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog.base import Base
from sightline_server.catalog.content import Content
from sightline_server.catalog.delta import joined, single_rows
from sightline_server.catalog.log import Recorded, read_recorded
from sightline_server.catalog.operations import KEY, Layout
from sightline_server.catalog.origins import read_origins
from sightline_server.catalog.preparing import PreparedRows
from sightline_server.catalog.revisions import Revision

IMAGES = 0
"""The position of the column of images among the heavy ones; the last one has the embeddings."""
REUSED_ROWS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The products of a catalog at operation `seq`, divided by what a new generation needs of them.

    `missing` has the light columns and the images of the products to embed, `origins` their origins in the same order.
    `reused` has the light columns of those that are embedded in a base of `earlier`, by their ids.
    """

    content: str
    seq: int
    missing: pa.Table
    origins: Sequence[bytes]
    reused: Mapping[str, "Reused"]
    earlier: Sequence[Base]
    newest: Revision | None = None
    """The revision of the first base of `earlier`."""

    def reused_rows(self, layout: Layout) -> Iterator[PreparedRows]:
        """The rows that need no embedder, with the columns of the new generation.

        Raises `SightlineError` of kind CONFIGURATION where an earlier generation was removed meanwhile.
        """
        for number, base in enumerate(self.earlier):
            ids = [row_id for row_id, each in self.reused.items() if each.earlier == number]
            for start in range(0, len(ids), REUSED_ROWS):
                heavy = single_rows(base.rows(ids[start : start + REUSED_ROWS], [KEY, *layout.heavy]))
                found = [(self.reused[row[KEY][0].as_py()], row) for row in heavy]
                rows = [joined(each.light, row, layout) for each, row in found]
                batch = layout.table(rows).to_batches()[0]
                yield PreparedRows(batch, [each.origin for each, _ in found])


@dataclass(frozen=True, slots=True, eq=False)
class Reused:
    """A row whose embeddings are in the base `earlier` of a plan."""

    light: pa.RecordBatch
    origin: bytes
    earlier: int


def read_plan(folder: Path, same_embedder: Collection[int]) -> Plan:
    """The plan for an embedder that the generations `same_embedder` were embedded by.

    Raises `SightlineError` of kind CONFIGURATION when the catalog is damaged.
    """
    recorded = read_recorded(folder)
    content = Content(folder, recorded)
    layout = recorded.layout
    origins = read_origins(folder, recorded.current.generation, layout)
    bases, known = earlier_rows(folder, recorded, same_embedder)
    names = [*layout.light.names, layout.heavy[IMAGES]]
    missing: list[pa.RecordBatch] = []
    wanted: list[bytes] = []
    reused: dict[str, Reused] = {}
    for batch in content.batches():
        found = origins.of(batch)
        ids = batch[KEY].to_pylist()
        kept = [known.get((row_id, origin)) for row_id, origin in zip(ids, found, strict=True)]
        for place, earlier in enumerate(kept):
            if earlier is not None:
                reused[ids[place]] = Reused(batch.select(layout.light.names).slice(place, 1), found[place], earlier)
        places = [place for place, earlier in enumerate(kept) if earlier is None]
        missing.append(batch.select(names).take(pa.array(places, pa.int64())))
        wanted += [found[place] for place in places]
    columns = pa.schema([layout.schema.field(name) for name in names])
    table = pa.Table.from_batches(missing, schema=columns)
    newest = next(iter(newest_of(recorded.revisions, same_embedder)), None)
    return Plan(content.revision, recorded.last_seq, table, wanted, reused, bases, newest)


def earlier_rows(
    folder: Path, recorded: Recorded, same_embedder: Collection[int]
) -> tuple[list[Base], dict[tuple[str, bytes], int]]:
    """The newest base of each of these generations, and which of them has a row of an id and an origin."""
    bases: list[Base] = []
    known: dict[tuple[str, bytes], int] = {}
    for revision in newest_of(recorded.revisions, same_embedder):
        assert revision.base_version is not None
        layout = recorded.generations[revision.generation].layout
        origins = read_origins(folder, revision.generation, layout)
        base = Base(folder, revision.base_version, revision.generation)
        for batch in base.batches(origins.columns):
            for key in zip(batch[KEY].to_pylist(), origins.of(batch), strict=True):
                known.setdefault(key, len(bases))
        bases.append(base)
    return bases, known


def newest_of(revisions: Sequence[Revision], generations: Collection[int]) -> list[Revision]:
    """The newest revision of each of `generations` whose content is kept, the newest first."""
    found: dict[int, Revision] = {}
    for each in revisions:
        if each.generation in generations and each.base_version is not None:
            found.setdefault(each.generation, each)
    return list(found.values())
