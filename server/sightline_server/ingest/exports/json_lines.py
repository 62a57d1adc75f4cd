"""JSON lines: one object a product, with its embeddings where they are asked for."""

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.embedded_parquet import EMBEDDER, EMBEDDINGS
from sightline_server.ingest.exports.cells import BAD, Cells, Rules, checked_cells
from sightline_server.ingest.exports.writers import Plan
from sightline_server.ingest.feeds.json_objects import guarded_record
from sightline_server.ingest.feeds.records import MAX_RECORD_CHARS, Record, excerpt


class JsonLinesWriter:
    """`FeedWriter` of JSON lines in UTF-8."""

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        self._file = file
        self._plan = plan
        self._rules = Rules(BAD, lambda name: True, attribute_order=bool(plan.embedder))

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """See `FeedWriter`. Kind LIMIT_EXCEEDED for a product whose line would be longer than what is read."""
        for row in rows:
            values: dict[str, Any] = filled(checked_cells(row, self._rules, read))
            if self._plan.embedder:
                values |= {EMBEDDER: self._plan.embedder, EMBEDDINGS: numbers(row)}
            line = json.dumps(values, ensure_ascii=False)
            if len(line) > MAX_RECORD_CHARS:
                text = (
                    f"product {excerpt(row.product.id)!r} takes {len(line)} characters, at most {MAX_RECORD_CHARS} are"
                )
                raise SightlineError(ErrorKind.LIMIT_EXCEEDED, f"{text} read from a line; use the format parquet")
            self._file.write(f"{line}\n".encode())

    def finish(self) -> None:
        """See `FeedWriter`."""


def filled(cells: Cells) -> dict[str, Any]:
    """The columns that have a value."""
    return {name: value for name, value in cells.items() if value}


def read(cells: Cells) -> Record:
    """The record that a reader makes of the line of `cells`."""
    return guarded_record(1, 1, json.dumps(filled(cells)))


def numbers(row: CatalogRow) -> list[list[float]]:
    """The embeddings of a product with as few digits as give the same float16 again."""
    return [[float(str(number)) for number in vector] for vector in row.embeddings.astype(np.float16)]
