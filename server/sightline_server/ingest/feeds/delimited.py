"""Delimited texts -> records: CSV, TSV, `;` and `|`.

Rule: a row has as many fields as the header. One with more is a fault. One with fewer is used, because spreadsheets
leave out empty fields at the end, unless the row next to it is short as well and both together could be one row that
was torn by a line break (`pieces` has the rule); then both are faults.
"""

from collections.abc import Iterator
from typing import BinaryIO

from sightline_server.ingest.feeds import exporters
from sightline_server.ingest.feeds.columns import doubled, gathered
from sightline_server.ingest.feeds.header import Header, read_header
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.records import Record, guarded
from sightline_server.ingest.feeds.rows import UNCLOSED, Dialect, Row, own_row, read_rows
from sightline_server.ingest.feeds.text import Lines, lines_of, opened_text, release

TORN = "is part of a row that was torn by a line break"


def read_delimited(file: BinaryIO, name: str, options: FeedOptions) -> Iterator[Record]:
    """The records of a delimited text. Raises `SightlineError` where it has no header."""
    text = opened_text(file, options.encoding)
    try:
        lines = Lines(lines_of(text))
        header = read_header(name, lines)
        records = numbered_records(lines, header)
        yield from exporters.merged(records) if header.exporter and header.exporter.grouped else records
    finally:
        release(text)


def numbered_records(lines: Lines, header: Header) -> Iterator[Record]:
    """The records below the header with their row numbers; remarks about the header come first."""
    names = doubled(header.names)
    if names and header.exporter is None:
        remark = f"the column {names[0]} occurs more than once; the first value that is not empty counts"
        yield Record(header.row, {}, line=header.line, warnings=(remark,), notice=True)
    before: Row | None = None
    number = before_number = header.row
    torn = False
    for row in read_rows(lines, header.dialect):
        number += 1
        if not row.fault and not any(field.strip() for field in row.fields):
            continue
        if before is not None:
            follows = pieces(before, row, header.dialect)
            yield guarded_record(before_number, before, header, torn or follows)
            torn = follows
        before, before_number = row, number
    if before is not None:
        yield guarded_record(before_number, before, header, torn)


def pieces(first: Row, second: Row, dialect: Dialect) -> bool:
    """Returns whether two rows could be one that was torn in two, `second` being the end of it.

    Two products, each with an id and the link of an image in the right column, are pieces only if together they have
    exactly the fields of one torn row: many tools leave out the empty fields at the end of every row.
    """
    if second.fault or len(second.fields) >= dialect.columns:
        return False
    if first.fault:
        return first.fault == UNCLOSED
    both = len(first.fields) + len(second.fields)
    if own_row(first.fields, dialect) and own_row(second.fields, dialect):
        return both == dialect.columns + 1
    return len(first.fields) < dialect.columns and both <= dialect.columns + 1


def guarded_record(number: int, row: Row, header: Header, torn: bool) -> Record:
    """The record of one row, whatever its fields do."""
    return guarded(number, row.line, lambda: to_record(number, row, header, torn))


def to_record(number: int, row: Row, header: Header, torn: bool) -> Record:
    """The record of one row."""
    columns = len(header.names)
    if row.fault:
        return Record(number, {}, row.fault, row.line)
    if len(row.fields) > columns:
        return Record(number, {}, f"has {len(row.fields)} fields, the header has {columns}", row.line)
    if torn:
        return Record(number, {}, f"has {len(row.fields)} fields, the header has {columns}; it {TORN}", row.line)
    values = gathered(zip(header.names, row.fields, strict=False))
    if header.exporter is not None:
        values = header.exporter.adapt(values)
    warnings = (row.warning,) if row.warning else ()
    return Record(number, values, line=row.line, warnings=warnings)
