"""One record of a delimited text -> its fields, by the quoting of RFC 4180.

Rule: a field that begins with a quote ends at the next quote that is not doubled, and a delimiter or the end of the
line must follow there. Quotes anywhere else are characters like any other.
"""

import re
from enum import Enum

QUOTED = re.compile(r'[^"]*(?:""[^"]*)*')


class Quoting(Enum):
    """The state of a record after a line: all its fields are there, a quote is still open, or the rule is broken."""

    COMPLETE = "complete"
    OPEN = "open"
    BROKEN = "broken"


class FieldSplitter:
    """Splits one record, line by line: `add` the first line, then further ones while a quote is open."""

    def __init__(self, delimiter: str) -> None:
        self.fields: list[str] = []
        self._delimiter = delimiter
        self._quoted: list[str] | None = None

    def add(self, line: str) -> Quoting:
        """Takes the next line of the record."""
        at = 0
        while True:
            if self._quoted is None and line.startswith('"', at):
                self._quoted = []
                at += 1
            if self._quoted is None:
                end = line.find(self._delimiter, at)
                if end < 0:
                    self.fields.append(line[at:])
                    return Quoting.COMPLETE
                self.fields.append(line[at:end])
                at = end + 1
                continue
            closing = self._add_quoted(line, at, self._quoted)
            if closing < 0:
                return Quoting.OPEN
            if closing + 1 == len(line):
                return Quoting.COMPLETE
            if line[closing + 1] != self._delimiter:
                return Quoting.BROKEN
            at = closing + 2

    def _add_quoted(self, line: str, start: int, parts: list[str]) -> int:
        """Adds text up to the closing quote, whose index it returns; -1 where the line ends before."""
        match = QUOTED.match(line, start)
        end = match.end() if match else start
        parts.append(line[start:end])
        if end == len(line):
            parts.append("\n")
            return -1
        self.fields.append("".join(parts).replace('""', '"'))
        self._quoted = None
        return end


def split_line(line: str, delimiter: str) -> list[str] | None:
    """The fields of a record on one line; None where a quote is not closed by the rule."""
    if '"' not in line:
        return line.split(delimiter)
    splitter = FieldSplitter(delimiter)
    return splitter.fields if splitter.add(line) is Quoting.COMPLETE else None


def literal_fields(line: str, delimiter: str) -> list[str]:
    """The fields of a line by the rule if it holds, else with quotes as ordinary characters."""
    fields = split_line(line, delimiter)
    return line.split(delimiter) if fields is None else fields
