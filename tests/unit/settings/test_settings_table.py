"""The page of settings: every setting of every group has a row with a meaning."""

from pydantic import BaseModel

from scripts import settings_table
from sightline_server.settings import ServedCatalogSettings, Settings


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each row by its variable."""
    cells = [[cell.strip(" `") for cell in line.split(" | ")] for line in page.splitlines() if "`SIGHTLINE_" in line]
    return {row[1]: row for row in cells if len(row) == 4}


def variables() -> set[str]:
    groups = {name: field.default for name, field in Settings.model_fields.items()}
    of_groups = {
        f"SIGHTLINE_{group}__{name}".upper()
        for group, default in groups.items()
        if isinstance(default, BaseModel)
        for name in type(default).model_fields
    }
    return {*of_groups, *(f"SIGHTLINE_CATALOGS__NAME__{name}".upper() for name in ServedCatalogSettings.model_fields)}


def test_every_setting_has_a_row_with_a_meaning() -> None:
    found = rows(settings_table.page())
    assert set(found) == variables()
    assert [variable for variable, row in found.items() if len(row[3]) < 10] == []


def test_the_page_in_the_repository_is_current() -> None:
    assert settings_table.TARGET.read_text() == settings_table.page()


def test_no_line_of_the_page_is_indented_which_would_make_it_code() -> None:
    assert [line for line in settings_table.page().splitlines() if line.startswith(" ")] == []
