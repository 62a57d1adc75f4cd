"""One group of operations -> rows in Milvus that a search would find.

    ids -> their rows of now -> inserted, or found from an earlier attempt -> read back under Strong
Rule: an insertion is not compared with what is there, so rows whose earlier insertion may have succeeded are looked for
first. What is replaced is only named here: it is deleted once the new rows are shown.
"""

from collections.abc import Mapping, Sequence

from sightline_server.catalog.current import Current
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.milvus.client import STRONG, Milvus
from sightline_server.index.milvus.expressions import one_of
from sightline_server.index.milvus.fields import PRIMARY, in_calls
from sightline_server.index.milvus.lease import Lease
from sightline_server.index.milvus.written_rows import rows_of_table

PRODUCTS = 256
"""Of one call: two versions with 20 images each are fewer rows than a query of Milvus returns."""
WRITE_S = 10.0
"""Longest time of a call that writes, or that waits for what was written."""
DELETED_ROWS = 2000
"""Of one call."""
RETRY_S = 2.0


def write_rows(
    milvus: Milvus, collection: str, lease: Lease, current: Current, seqs: Mapping[str, int], *, certain: bool
) -> list[int]:
    """Writes the products that `current` has of `seqs`, their last operations by id.

    Returns the numbers of the rows that these operations replace or delete, which are there still. `certain` says that
    none of the new rows can be there. Raises `SightlineError` of kind INDEX_UNAVAILABLE where Milvus does not answer,
    or does not show what was written.
    """
    replaced: list[int] = []
    ids = list(seqs)
    for start in range(0, len(ids), PRODUCTS):
        part = ids[start : start + PRODUCTS]
        rows = rows_of_table(current.written(part), seqs)
        wanted = {row[PRIMARY] for row in rows}
        if not certain:
            there = numbers(milvus, collection, part)
            rows = [row for row in rows if row[PRIMARY] not in there]
        for call in in_calls(rows):
            lease.require()
            milvus.insert(collection, call, limit_s=WRITE_S)
        there = numbers(milvus, collection, part)
        if not wanted <= there:
            message = f"Milvus does not show {len(wanted - there)} of {len(wanted)} images that were written"
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S)
        replaced += sorted(there - wanted)
    return replaced


def numbers(milvus: Milvus, collection: str, ids: Sequence[str]) -> set[int]:
    """The numbers of all rows of these products, after everything that was written before."""
    found = milvus.query(collection, one_of("id", ids), [PRIMARY], consistency=STRONG, limit_s=WRITE_S)
    return {int(row[PRIMARY]) for row in found}
