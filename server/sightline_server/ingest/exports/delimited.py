"""CSV and TSV: a header, then one product a line.

Rule: a product is one line. Line breaks within a text are blanks in its own column, and the exact text is in
`sightline_product`, because a reader cannot be certain where a row of several lines ends.
"""

import csv
import io
from collections.abc import Sequence
from typing import BinaryIO

from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.exports.cells import CONTROLS, STANDARD, Cells, Rules, checked_cells
from sightline_server.ingest.exports.writers import Plan
from sightline_server.ingest.feeds.delimited import to_record
from sightline_server.ingest.feeds.exact import EXACT
from sightline_server.ingest.feeds.header import to_header
from sightline_server.ingest.feeds.quoting import split_line
from sightline_server.ingest.feeds.records import Record
from sightline_server.ingest.feeds.rows import UNCLOSED, Row


class DelimitedWriter:
    """`FeedWriter` of a delimited text in UTF-8."""

    delimiter = ","

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        self._file = file
        self._columns = (*STANDARD, *plan.columns, EXACT)
        self._rules = Rules(CONTROLS, frozenset(plan.columns).__contains__)
        header = to_header(1, Row(1, list(self._columns)), self.delimiter)
        assert header is not None
        self._header = header
        self._put(self._line({name: name for name in self._columns}))

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """See `FeedWriter`."""
        for row in rows:
            self._put(self._line(checked_cells(row, self._rules, self._read)))

    def finish(self) -> None:
        """See `FeedWriter`."""

    def _put(self, line: str) -> None:
        self._file.write(f"{line}\n".encode())

    def _line(self, cells: Cells) -> str:
        fields = [joined(cells.get(name, "")) for name in self._columns]
        return self._quoted(fields)

    def _quoted(self, fields: list[str]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter, lineterminator="").writerow(fields)
        return text.getvalue()

    def _read(self, cells: Cells) -> Record:
        fields = split_line(self._line(cells), self.delimiter)
        return to_record(1, Row(1, fields or [], "" if fields else UNCLOSED), self._header, torn=False)


class TabWriter(DelimitedWriter):
    """`FeedWriter` of a TSV as the Merchant Center reads it: a quote is an ordinary character, except at the beginning
    of a field, which is then quoted as in CSV."""

    delimiter = "\t"

    def _quoted(self, fields: list[str]) -> str:
        return self.delimiter.join(enclosed(text) if text.startswith('"') else text for text in fields)


def enclosed(text: str) -> str:
    """`text` in quotes, those within it doubled."""
    return '"' + text.replace('"', '""') + '"'


def joined(value: str | list[str]) -> str:
    """A value as one cell."""
    return value if isinstance(value, str) else ", ".join(value)
