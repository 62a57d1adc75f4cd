"""The sections of docs/record/quality.md that `make quality` writes, among tables that were written by hand.

    <!-- make quality: NAME -->
    ... the section ...
    <!-- end of NAME -->
Rule: a recording replaces its own sections and keeps every other byte of the file. A file whose marks cannot be
understood is not written, which is found out before anything is measured.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

TITLE = "# Quality of the answers\n"
BEGIN = re.compile(r"^<!-- make quality: (.*) -->$", re.MULTILINE)
END = re.compile(r"^<!-- end of (.*) -->$", re.MULTILINE)


def marks(name: str) -> tuple[str, str]:
    """The lines before and after the section `name`. Raises `ValueError` for a name that would end a comment."""
    if "--" in name or "\n" in name:
        raise ValueError(f"{name!r} cannot name a section: it has two hyphens next to each other or a line break")
    return f"<!-- make quality: {name} -->\n", f"<!-- end of {name} -->\n"


def span_of(page: str, name: str) -> tuple[int, int] | None:
    """Start and end of the section `name` of `page`, with its marks; None where the page has none.

    Raises `ValueError` that says what is wrong with the marks.
    """
    first, last = marks(name)
    counts = page.count(first), page.count(last)
    if counts == (0, 0):
        return None
    start, end = page.find(first), page.find(last)
    if counts != (1, 1) or end < start:
        raise ValueError(
            f"the section {name!r} needs the line {first.strip()!r} once, and after it {last.strip()!r} once; "
            "correct the file, or restore it with git"
        )
    return start, end + len(last)


def with_section(page: str, name: str, text: str) -> str:
    """`page` with `text` as its section `name`, where that was before, or else at the end.

    Raises `ValueError` as `span_of`.
    """
    first, last = marks(name)
    section = f"{first}\n{text.strip()}\n\n{last}"
    span = span_of(page, name)
    if span is None:
        return f"{page.rstrip()}\n\n{section}"
    return page[: span[0]] + section + page[span[1] :]


def check_page(path: Path) -> None:
    """Raises `ValueError` when the marks of a section in the file are wrong, and `OSError` when it cannot be read."""
    page = path.read_text(encoding="utf-8") if path.exists() else TITLE
    for name in {*BEGIN.findall(page), *END.findall(page)}:
        span_of(page, name)


def write_sections(path: Path, sections: Mapping[str, str]) -> None:
    """Writes `sections`, text by name, into the file; all else in it stays. Raises as `check_page`."""
    page = path.read_text(encoding="utf-8") if path.exists() else TITLE
    for name, text in sections.items():
        page = with_section(page, name, text)
    replace_file(path, page)


def write_figures(path: Path, figures: Mapping[str, float]) -> None:
    """Writes `figures` into the JSON object in the file; its other figures stay."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    replace_file(path, json.dumps({**kept, **figures}, indent=2) + "\n")


def replace_file(path: Path, content: str) -> None:
    """Replaces the file as a whole, so that an interruption leaves the old one."""
    new = path.with_suffix(".new")
    new.write_text(content, encoding="utf-8")
    os.replace(new, path)
