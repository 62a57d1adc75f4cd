"""RSS 2.0 with the namespace of the Merchant Center: one `<item>` a product."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO
from xml.sax.saxutils import escape

from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.exports.cells import Cells, Rules, checked_cells
from sightline_server.ingest.exports.writers import Plan
from sightline_server.ingest.feeds.exact import EXACT
from sightline_server.ingest.feeds.records import Record
from sightline_server.ingest.feeds.xml_items import CONTROLS, ItemReader, taken

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0" xmlns:s="urn:sightline:feed">\n'
    "<channel>\n<title>Sightline catalog</title>\n<link/>\n<description>Products of a catalog</description>\n"
)
TAIL = "</channel>\n</rss>\n"
# Names that other readers may take for elements of RSS are not attributes of a product here.
ELEMENT = re.compile(r"[a-z][a-z0-9_]{0,62}")
LINE_END = {"\r": "&#13;"}
"""A parser turns a carriage return that is written as it is into a line feed."""
UNFIT = dict.fromkeys(CONTROLS, " ") | {0xFDD0: "\ufffd"}


class XmlWriter:
    """`FeedWriter` of RSS 2.0 in UTF-8."""

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        self._file = file
        self._rules = Rules(UNFIT, lambda name: ELEMENT.fullmatch(name) is not None)
        self._reader = ItemReader("the export")
        self._reader.parser.Parse(HEAD.encode(), False)
        file.write(HEAD.encode())

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """See `FeedWriter`."""
        for row in rows:
            self._file.write(item(checked_cells(row, self._rules, self._read)).encode())

    def finish(self) -> None:
        """See `FeedWriter`."""
        self._file.write(TAIL.encode())

    def _read(self, cells: Cells) -> Record:
        self._reader.parser.Parse(item(cells).encode(), False)
        [record] = taken(self._reader)
        return record


def item(cells: Cells) -> str:
    """One product."""
    return f"<item>\n{''.join(elements(cells))}</item>\n"


def elements(cells: Cells) -> Iterator[str]:
    """The elements of a product, one for each value."""
    for name, value in cells.items():
        prefix = "s" if name == EXACT else "g"
        for text in [value] if isinstance(value, str) else value:
            if text:
                yield f"<{prefix}:{name}>{escape(text, LINE_END)}</{prefix}:{name}>\n"
