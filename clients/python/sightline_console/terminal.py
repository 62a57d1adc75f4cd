"""Text that is safe to print: what comes from catalogs, servers, file names and requests never controls a terminal.

Rule: `printable` alone decides which characters are shown. Everything that a command of ours prints
and that it has not written itself goes through it, on a terminal and in a pipe alike; `--json` output escapes
characters in JSON's own way instead and keeps the data exact.
"""

import sys
import unicodedata

_JOINERS = {"\u200c", "\u200d"}
"""Invisible, yet part of words in Persian and Indic scripts, and of emoji."""
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control and format characters (bidirectional overrides among them), lone surrogates, line and paragraph breaks."""


def printable(text: str) -> str:
    """`text` as one line in which nothing is hidden and nothing controls the terminal.

    Tabs, line breaks and paragraph breaks become a blank, soft hyphens vanish, every other control or format character
    is shown as Python would write it: `\\x1b`, `\\u202e`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def printable_lines(text: str) -> str:
    """`text` with its line breaks, and each line `printable`."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE or character in _JOINERS:
        return character
    if character.isspace():
        return " "
    return "" if character == "\u00ad" else ascii(character)[1:-1]


def echo(text: str, *, err: bool = False) -> None:
    """Prints one `printable` line on standard output, or on standard error."""
    _write(printable(text), err=err)


def echo_lines(text: str, *, err: bool = False) -> None:
    """Prints text that has several lines, such as the end of a log."""
    _write(printable_lines(text), err=err)


def _write(text: str, *, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()
