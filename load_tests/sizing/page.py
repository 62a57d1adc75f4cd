"""The part of `docs/design/scale.md` that is made: it lies between two marks, and the text around it is written."""

from pathlib import Path

from load_tests.sizing.assumed import Assumed
from load_tests.sizing.tables import all_tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "design" / "scale.md"
BEGIN = "<!-- made by `python -m load_tests.sizing --write` -->"
END = "<!-- end of the made part -->"


def with_tables(page: str) -> str:
    """`page` with the tables as they are now. Raises `ValueError` when its marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} needs the two marks between which the tables are written")
    return f"{before}{begin}\n\n{all_tables(Assumed())}\n\n{end}{after}"
