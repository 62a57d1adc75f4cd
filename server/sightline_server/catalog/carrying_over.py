"""The changes of a catalog since one of its revisions was prepared, which need no embedder.

    deleted since, or another price, stock or text     carried over
    new since, or with new images                      the revision is refused, and the products are counted
    left out of the prepared revision on purpose       left out
Rule: two rows are of the same images when their origins are equal, whatever embedded them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sightline_server.catalog.base import Base
from sightline_server.catalog.delta import joined, single_rows
from sightline_server.catalog.digest import row_hashes
from sightline_server.catalog.operations import KEY, Layout
from sightline_server.catalog.origins import Origins
from sightline_server.catalog.revisions import Revision
from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError

Side = tuple[Base, Origins]
"""A base, and the origins of its rows."""


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """The change of the prepared base: the rows `old` of `ids` are replaced by `rows`."""

    ids: Sequence[str]
    old: pa.Table
    rows: pa.Table


def carried_over(target: Revision, now: Side, prepared: Side, layout: Layout) -> CarriedOver:
    """The change that makes the prepared base, whose columns are `layout`, what the base of `now` is.

    Raises `SightlineError` of kind REVISION_OUTDATED where it has no embeddings of some products.
    """
    wanted, there = origins_of(*now), origins_of(*prepared)
    left_out = {row_id for row_id, origin in wanted.items() if prepared[1].left_out(row_id, origin)} - there.keys()
    require_embedded(target, {row_id: each for row_id, each in wanted.items() if row_id not in left_out}, there)
    names = layout.light.names
    texts, old_texts = light_hashes(now[0], names), light_hashes(prepared[0], names)
    changed = [row_id for row_id, value in texts.items() if row_id in there and old_texts[row_id] != value]
    ids = sorted([*changed, *(there.keys() - wanted.keys())])
    old = prepared[0].rows(ids).cast(layout.schema)
    light = {row[KEY][0].as_py(): row for row in single_rows(now[0].rows(changed, names))}
    rows = [joined(light[row_id], row, layout) for row in single_rows(old) if (row_id := row[KEY][0].as_py()) in light]
    return CarriedOver(ids, old, layout.table(rows))


def require_embedded(target: Revision, wanted: Mapping[str, bytes], there: Mapping[str, bytes]) -> None:
    """Raises `SightlineError` where products of `wanted` have no embeddings of their images in `there`."""
    new = sum(row_id not in there for row_id in wanted)
    changed = sum(there.get(row_id, origin) != origin for row_id, origin in wanted.items())
    if new or changed:
        message = (
            f"revision {target.number} was prepared before the images of {counted(new + changed, 'product')} were "
            f"written ({new} new, {changed} changed); the catalog is as it was. Run `sightline catalog reembed` again, "
            "which embeds only what is missing, and activate the revision that it prepares"
        )
        metadata = {"new": str(new), "changed": str(changed)}
        raise SightlineError(ErrorKind.REVISION_OUTDATED, message, field="name", metadata=metadata)


def origins_of(base: Base, origins: Origins) -> dict[str, bytes]:
    """The origin of each row by its id."""
    found: dict[str, bytes] = {}
    for batch in base.batches(origins.columns):
        found.update(zip(batch[KEY].to_pylist(), origins.of(batch), strict=True))
    return found


def light_hashes(base: Base, names: Sequence[str]) -> dict[str, int]:
    """A digest of some columns of each row by its id."""
    found: dict[str, int] = {}
    for batch in base.batches(names):
        found.update(zip(batch[KEY].to_pylist(), row_hashes(batch.select(list(names))), strict=True))
    return found
