"""The guard: which losses keep the old catalog."""

from dataclasses import replace

import pytest

from sightline_server.cli.catalog_options import fraction
from sightline_server.ingest.guard import Losses, Size, losses, percent, refusal, shrinking


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Losses(20, 19, 20, 19), ["19 of 20 rows were lost (95 %)", "19 of 20 images were lost (95 %)"]),
        (Losses(20, 2, 20, 2), []),
        (Losses(1000, 101, 1000, 0), ["101 of 1000 rows were lost (10.1 %)"]),
        (Losses(1000, 0, 3000, 2000), ["2000 of 3000 images were lost (66.7 %)"]),
        (Losses(3, 1, 3, 0), ["1 of 3 rows were lost (33.4 %)"]),
        (Losses(), []),
    ],
)
def test_rows_and_images_are_counted_apart(counts: Losses, expected: list[str]) -> None:
    assert list(losses(counts, 0.10)) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            Size(20, 40),
            Size(10, 20),
            ["products: 10 instead of 20 (50 % fewer)", "images: 20 instead of 40 (50 % fewer)"],
        ),
        (Size(20, 60), Size(20, 20), ["images: 20 instead of 60 (66.7 % fewer)"]),
        (Size(10, 10), Size(7, 7), []),
        (Size(10, 10), Size(20, 20), []),
        (Size(0, 0), Size(1, 1), []),
    ],
)
def test_a_smaller_catalog_is_compared_with_the_old_one(old: Size, new: Size, expected: list[str]) -> None:
    assert list(shrinking(old, new, 0.30)) == expected


def test_the_refusal_names_the_limits_and_how_to_override_them() -> None:
    text = refusal(["19 of 20 rows were lost (95 %)"], [], 0.1, 0.3)
    assert text.splitlines()[1:] == [
        "  19 of 20 rows were lost (95 %), --max-lost allows 10 %",
        "  to build it all the same, add --max-lost 100",
    ]
    assert "--max-lost 100 --max-shrink 100" in refusal(["a"], ["b"], 0.1, 0.3)


def test_percentages_are_rounded_up() -> None:
    assert [percent(share) for share in (0.1, 0.10001, 1 / 3, 1.0, 0.0)] == ["10 %", "10.1 %", "33.4 %", "100 %", "0 %"]


@pytest.mark.parametrize("lost", range(0, 1001, 7))
def test_a_share_that_equals_the_limit_is_allowed(lost: int) -> None:
    limit = fraction("--max-lost", f"{lost / 10:g}")
    counts = Losses(rows=1000, rows_lost=lost)
    assert list(losses(counts, limit)) == []
    assert list(shrinking(Size(1000, 0), Size(1000 - lost, 0), limit)) == []
    if lost < 1000:
        assert list(losses(replace(counts, rows_lost=lost + 1), limit))
