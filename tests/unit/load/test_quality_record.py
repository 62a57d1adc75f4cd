"""A recording replaces what recordings wrote, and nothing else."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.hit_rates.record import check_page, marks, span_of, with_section, write_figures, write_sections
from load_tests.quality import RECORD

PAGE = "# Quality\n\nby hand\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


def test_a_recording_keeps_what_others_wrote(tmp_path: Path) -> None:
    page = tmp_path / "quality.md"
    page.write_text(PAGE)
    write_sections(page, {"showroom": "first", "groceries": "photos"})
    page.write_text(page.read_text() + "\nmore by hand\n")
    before = page.read_text()
    write_sections(page, {"showroom": "second"})
    assert page.read_text() == before.replace("first", "second")
    assert page.read_text().startswith(PAGE)
    assert page.read_text().endswith("\nmore by hand\n")
    assert [each.name for each in tmp_path.iterdir()] == ["quality.md"]


@given(st.text(), st.text(), st.text(alphabet="abc |\n"))
def test_all_before_and_after_a_section_stays(before: str, after: str, text: str) -> None:
    first, last = marks("showroom")
    page = f"{before}\n{first}old\n{last}{after}"
    assert with_section(page, "showroom", text) == f"{before}\n{first}\n{text.strip()}\n\n{last}{after}"


def test_a_file_that_is_not_there_becomes_one_with_a_title(tmp_path: Path) -> None:
    write_sections(tmp_path / "new.md", {"showroom": "text"})
    first, last = marks("showroom")
    assert (tmp_path / "new.md").read_text() == f"# Quality of the answers\n\n{first}\ntext\n\n{last}"


@pytest.mark.parametrize(
    "wrong", [marks("a")[0], marks("a")[1], "".join(reversed(marks("a"))), "".join(marks("a") * 2)]
)
def test_wrong_marks_are_refused_and_the_file_stays(tmp_path: Path, wrong: str) -> None:
    page = tmp_path / "quality.md"
    page.write_text(PAGE + wrong)
    with pytest.raises(ValueError, match="the section 'a' needs the line"):
        check_page(page)
    with pytest.raises(ValueError, match="the section 'a' needs the line"):
        write_sections(page, {"a": "text"})
    assert page.read_text() == PAGE + wrong


def test_a_name_that_would_end_the_comment_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot name a section"):
        with_section(PAGE, "a --> b", "text")


def test_other_figures_stay(tmp_path: Path) -> None:
    figures = tmp_path / "quality.json"
    figures.write_text('{"recall": 0.1, "by hand": 0.5}')
    write_figures(figures, {"recall": 0.2})
    assert json.loads(figures.read_text()) == {"recall": 0.2, "by hand": 0.5}


def test_the_record_has_its_sections() -> None:
    page = RECORD / "quality.md"
    check_page(page)
    assert all(span_of(page.read_text(), name) for name in ("showroom", "groceries"))
