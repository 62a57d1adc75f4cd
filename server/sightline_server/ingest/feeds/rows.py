"""Lines of a delimited text -> rows of fields, none of which may swallow another.

Rule: a quoted field may hold line breaks. A quote that is not closed by RFC 4180 costs its own row (CSV) or is an
ordinary character (TSV), and reading goes on with the next line. The same holds where a field closes on a later line,
but a line in between is a row by itself, or the number of fields is not that of the header: then the closing quote
belongs to another row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sightline_server.ingest.feeds.links import looks_like_image_link
from sightline_server.ingest.feeds.quoting import FieldSplitter, Quoting, literal_fields, split_line
from sightline_server.ingest.feeds.text import Line, Lines

MAX_ROW_LINES = 1000
MAX_ROW_CHARS = 256 * 1024
MAX_ID_CHARS = 100

UNCLOSED = "a quote opens a field and is not closed by the rules of CSV (RFC 4180)"
TOO_LONG = "is longer than 1,048,576 characters"


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row, which begins at `line`; empty with a `fault`."""

    line: int
    fields: list[str] = field(default_factory=list)
    fault: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The form of the rows: the delimiter, the number of columns, and the positions of `id` and `image_link`.

    As long as the number of columns is unknown (0), a row is one line.
    """

    delimiter: str
    columns: int = 0
    id_column: int = 0
    image_column: int = 0

    @property
    def lenient(self) -> bool:
        """True if a quote that does not enclose a field is an ordinary character, as in the TSV of Merchant Center."""
        return self.delimiter == "\t"


def read_rows(lines: Lines, dialect: Dialect) -> Iterator[Row]:
    """The rows of `lines`, one for each record; blank lines are rows without fields."""
    settled = True
    for line in lines:
        try:
            row = next_row(line, lines, dialect, settled)
        except Exception as error:  # whatever one row holds, the other rows are read
            row = Row(line.number, fault=f"cannot be read ({type(error).__name__})")
        if row.fields or row.fault:
            settled = len(row.fields) == dialect.columns
        yield row


def next_row(line: Line, lines: Lines, dialect: Dialect, settled: bool) -> Row:
    """The row that begins with `line`; `settled` says whether the row before it was whole."""
    if line.too_long:
        return Row(line.number, fault=TOO_LONG)
    if not line.text.strip():
        return Row(line.number)
    if '"' not in line.text:
        return Row(line.number, line.text.split(dialect.delimiter))
    return quoted_row(line, lines, dialect, settled)


def quoted_row(first: Line, lines: Lines, dialect: Dialect, settled: bool) -> Row:
    """The row that begins with `first`, which has quotes. Lines that do not belong to it are returned to `lines`."""
    fields = split_line(first.text, dialect.delimiter)
    literal = first.text.split(dialect.delimiter)
    if fields is not None:
        misread = dialect.lenient and len(fields) != dialect.columns == len(literal)
        return Row(first.number, literal if misread else fields)
    if dialect.columns:
        row, taken = row_of_lines(first, lines, dialect, settled)
        if row is not None:
            return row
        lines.take_back(taken)
    return Row(first.number, literal) if dialect.lenient else Row(first.number, fault=UNCLOSED)


def row_of_lines(first: Line, lines: Lines, dialect: Dialect, settled: bool) -> tuple[Row | None, list[Line]]:
    """The row over several lines, None if there is none by the rule; and the lines after `first` that were read."""
    splitter = FieldSplitter(dialect.delimiter)
    state, chars = splitter.add(first.text), len(first.text)
    taken: list[Line] = []
    while state is Quoting.OPEN and len(taken) < MAX_ROW_LINES and chars <= MAX_ROW_CHARS:
        line = next(lines, None)
        if line is None:
            break
        taken.append(line)
        chars += len(line.text)
        if line.too_long:
            break
        state = splitter.add(line.text)
        if len(splitter.fields) > dialect.columns:
            break
    fields = splitter.fields
    if state is not Quoting.COMPLETE or len(fields) != dialect.columns:
        return None, taken
    return accepted(first, taken, fields, dialect, settled), taken


def accepted(first: Line, taken: list[Line], fields: list[str], dialect: Dialect, settled: bool) -> Row | None:
    """The row if none of its lines looks like another row; with a warning where one might be."""
    begun = first.text.split(dialect.delimiter)
    whole = len(begun) >= dialect.columns
    # Where the first field has the line break, the last line carries all other fields; where prose has, its last commas
    # may stand for the fields before it. That is taken for a row only if nothing before it is in doubt: the line may be
    # the end of a row that was torn.
    if joins_rows(fields, dialect, len(begun) == dialect.columns and own_row(begun, dialect)):
        return None
    last_line_belongs = "\n" in fields[0] or ends_with_prose(fields, dialect.delimiter)
    carries = last_line_belongs and settled and not whole and not any(map(looks_like_image_link, begun))
    doubt = 0
    for line in taken[:-1] if carries else taken:
        own = literal_fields(line.text, dialect.delimiter)
        if own_row(own, dialect):
            return None
        if len(own) == dialect.columns:
            doubt = line.number
    if doubt and (whole or not settled):
        return None
    warning = f"a quoted field spans lines {first.number} to {taken[-1].number}; line {doubt} may be a separate row"
    return Row(first.number, fields, warning=warning if doubt else "")


def ends_with_prose(fields: list[str], delimiter: str) -> bool:
    """Returns whether the last line of quoted text has delimiters, each followed by a blank, as in prose."""
    last = next(text for text in reversed(fields) if "\n" in text).rpartition("\n")[2]
    _, *parts = last.split(delimiter)
    return bool(parts) and all(part[:1].isspace() for part in parts)


def joins_rows(fields: list[str], dialect: Dialect, complete: bool) -> bool:
    """Returns whether a quoted field of several lines holds parts of two rows.

    In TSV one tab within it is enough, as texts hardly ever have tabs. In CSV texts have commas, so this counts only
    where the first line is `complete`, a product by itself: if the field would hold the link of that product's image,
    or if a further line holds as many delimiters as a row has before the field's column.
    """
    for column, text in enumerate(fields):
        first, *further = text.split("\n")
        if not further:
            continue
        most = max(line.count(dialect.delimiter) for line in further)
        if dialect.lenient and (most or dialect.delimiter in first):
            return True
        if complete and (column < dialect.image_column or most >= max(column, 1)):
            return True
    return False


def own_row(fields: list[str], dialect: Dialect) -> bool:
    """Returns whether `fields` of a line within quotes are a product: an id, and an image's link in its column."""
    if len(fields) <= max(dialect.id_column, dialect.image_column):
        return False
    product_id = fields[dialect.id_column].strip()
    if not product_id or len(product_id) > MAX_ID_CHARS or not looks_like_image_link(fields[dialect.image_column]):
        return False
    return len(fields) == dialect.columns or not any(character.isspace() for character in product_id)
