"""Findings of one checkout: jargon and docstrings that open with a question word, each with file and line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.plain_english.dictionary import DICTIONARY, QUESTION
from scripts.plain_english.texts import LINE_COMMENT, PROSE, Text, texts_of

SUFFIXES = {".py", *PROSE, *(suffix for suffix in LINE_COMMENT if suffix.startswith("."))}
SKIPPED = (
    *("protos/python/sightline/v1", "scripts/plain_english", "tests/unit/repository/test_plain_english.py"),
    *("examples/showroom/showroom", "examples/showroom/render.py"),
)
"""Generated code, the dictionary with its tests, and the rendered rooms, which have doors, pictures and things."""
MADE = {"demo-out", "bench-out", "node_modules", "build", "dist", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One use of jargon: its line, the words as written, and the plain words for them."""

    line: int
    written: str
    instead: str
    opens_docstring: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One file: how many words of prose it has, and the findings in them."""

    words: int
    findings: tuple[Finding, ...]


def read_file(path: Path) -> Reading:
    """Counts and findings of a file."""
    texts = list(texts_of(path))
    findings = [finding for text in texts for finding in findings_in(text)]
    return Reading(
        sum(len(text.content.split()) for text in texts), tuple(sorted(findings, key=lambda each: each.line))
    )


def findings_in(text: Text) -> Iterator[Finding]:
    """Every finding of a text. A name in two entries counts twice, which no entry of the dictionary does."""
    for entry in DICTIONARY:
        for match in entry.pattern.finditer(text.content):
            yield Finding(line_of(text, match.start()), " ".join(match[0].split()), entry.instead)
    opening = text.content.lstrip("\"'rR \n")
    if text.is_docstring and (opener := QUESTION.match(opening)):
        instead = "a docstring that opens with a noun phrase or a verb in the third person"
        yield Finding(text.line, opener[0], instead, opens_docstring=True)


def line_of(text: Text, position: int) -> int:
    """The line of the file on which `position` of the text is."""
    return text.line + text.content.count("\n", 0, position)


def read_tree(root: Path) -> dict[str, Reading]:
    """The readings of every file of a checkout that has prose, by path relative to `root`."""
    readings = {name: read_file(root / name) for name in sorted(names_below(root))}
    return {name: reading for name, reading in readings.items() if reading.words}


def names_below(root: Path, folder: Path | None = None) -> Iterator[str]:
    """Paths of the files to read, hidden and generated folders left out."""
    for path in (folder or root).iterdir():
        name = path.relative_to(root).as_posix()
        if path.name.startswith(".") or path.name in MADE or name.startswith(SKIPPED):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from names_below(root, path)
        elif path.suffix in SUFFIXES or path.name in LINE_COMMENT:
            yield name
