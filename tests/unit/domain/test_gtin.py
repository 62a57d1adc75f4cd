"""Numbers that are a GTIN, in each of their forms, and those that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.codes import PhotoCode
from sightline_server.domain.geometry import Box
from sightline_server.domain.gtin import has_check_digit, to_gtin


@pytest.mark.parametrize(
    "text",
    [
        "4006381333931",
        "04006381333931",
        "4006381-333931",
        " 400 6381 333931\n",
        "4006381\u2013333931",
        "4\u00a0006381333931",
    ],
)
def test_every_form_of_a_gtin_is_one_number(text: str) -> None:
    assert to_gtin(text) == 4006381333931


def test_gtin_12_and_8_are_those_of_longer_forms() -> None:
    assert to_gtin("036000291452") == to_gtin("0036000291452") == to_gtin("00036000291452") == 36000291452
    assert to_gtin("36000291452") == 36000291452, "the zero that a spreadsheet dropped"
    assert to_gtin("96385074") == to_gtin("0000000096385074"[2:]) == 96385074


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4006381333932",
        "036000291453",
        "96385075",
        "00000000",
        "1234567",
        "123456789012345",
        "400638133393X",
        "4006381333931.0",
        "٤006381333931",
        "-4006381333931x",
        "sku 4006381333931",
        "4006381333931,036000291452",
    ],
)
def test_other_texts_are_no_gtin(text: str) -> None:
    assert to_gtin(text) == 0


@given(st.text("0123456789", min_size=7, max_size=13), st.integers(1, 9))
def test_each_wrong_digit_is_noticed(body: str, change: int) -> None:
    (right,) = [digit for digit in "0123456789" if has_check_digit(body + digit)]
    for place in range(len(body)):
        wrong = body[:place] + str((int(body[place]) + change) % 10) + body[place + 1 :] + right
        assert not has_check_digit(wrong)


def test_a_code_shows_its_number_in_no_text() -> None:
    assert "4006381333931" not in f"{PhotoCode(Box.whole(), 4006381333931)!r}"
