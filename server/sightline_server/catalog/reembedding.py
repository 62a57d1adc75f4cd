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
from sightline_server.catalog.log import Recorded, read_recorded
from sightline_server.catalog.operations import KEY, Layout
from sightline_server.catalog.origins import read_origins
from sightline_server.catalog.preparing import PreparedRows
from sightline_server.catalog.revisions import Revision

IMAGES = 0
"""The position of the column of images among the heavy ones; the last one has the embeddings."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The products of a catalog at operation `seq`, divided by what a new generation needs of them.

    `missing` has the light columns and the images of the products to embed, `origins` their origins in the same order.
    `reused` has those that are embedded in a base of `earlier` by their ids, and `light` their light columns.
    """

    content: str
    seq: int
    missing: pa.Table
    origins: Sequence[bytes]
    reused: Mapping[str, "Reused"]
    light: pa.Table
    earlier: Sequence[Base]
    newest: Revision | None = None
    """The revision of the first base of `earlier`."""

    def reused_rows(self, layout: Layout) -> Iterator[PreparedRows]:
        """The rows that need no embedder, with the columns of the new generation.

        Raises `SightlineError` of kind CONFIGURATION where an earlier generation was removed meanwhile.
        """
        for number, base in enumerate(self.earlier):
            for batch in base.batches([KEY, *layout.heavy]):
                known = [self.reused.get(row_id) for row_id in batch[KEY].to_pylist()]
                places = [place for place, each in enumerate(known) if each is not None and each.earlier == number]
                found = [each for each in known if each is not None and each.earlier == number]
                if not found:
                    continue
                heavy = batch.take(pa.array(places, pa.int64()))
                light = self.light.take(pa.array([each.row for each in found], pa.int64())).combine_chunks()
                light = light.to_batches()[0]
                columns = [(heavy if name in layout.heavy else light)[name] for name in layout.schema.names]
                rows = pa.RecordBatch.from_arrays(columns, schema=layout.schema)
                yield PreparedRows(rows, [each.origin for each in found])


@dataclass(frozen=True, slots=True)
class Reused:
    """A product whose embeddings are in the base `earlier` of a plan, and whose light columns are in row `row`."""

    row: int
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
    light: list[pa.RecordBatch] = []
    wanted: list[bytes] = []
    reused: dict[str, Reused] = {}
    for batch in content.batches():
        found = origins.of(batch)
        ids = batch[KEY].to_pylist()
        kept = [known.get((row_id, origin)) for row_id, origin in zip(ids, found, strict=True)]
        for place, earlier in enumerate(kept):
            if earlier is not None:
                reused[ids[place]] = Reused(len(reused), found[place], earlier)
        there = [place for place, earlier in enumerate(kept) if earlier is not None]
        light.append(batch.select(layout.light.names).take(pa.array(there, pa.int64())))
        places = [place for place, earlier in enumerate(kept) if earlier is None]
        missing.append(batch.select(names).take(pa.array(places, pa.int64())))
        wanted += [found[place] for place in places]
    columns = pa.schema([layout.schema.field(name) for name in names])
    tables = [pa.Table.from_batches(parts, schema=each) for parts, each in ((missing, columns), (light, layout.light))]
    newest = next(iter(newest_of(recorded.revisions, same_embedder)), None)
    return Plan(content.revision, recorded.last_seq, tables[0], wanted, reused, tables[1], bases, newest)


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
