"""The cases of what an adapter brings: which photos are fitted, and which are measured."""

from typing import Any

from load_tests.adapted import Case, cases, line_of

PRODUCTS, EACH = 81, 5
ROWS = [
    {"image": f"{product}-{number}.jpg", "product_id": str(product)}
    for product in range(PRODUCTS)
    for number in range(EACH)
]


def test_no_photo_is_fitted_and_measured() -> None:
    found = list(cases(ROWS, 0))
    assert len({case.name for case in found}) == len(found) == 9
    for case in found:
        fitted, others = ({row["image"] for row in rows} for rows in (case.fitted, case.others))
        assert fitted and others
        assert not fitted & others, case.name


def test_photos_without_labels_are_of_one_half_and_the_other_is_measured_both_ways() -> None:
    first, second = [case for case in cases(ROWS, 0) if len(case.fitted) == 200 and not case.labelled]
    measured = [{row["image"] for row in case.others} for case in (first, second)]
    assert measured[0] | measured[1] == {row["image"] for row in ROWS}
    assert not measured[0] & measured[1]
    again = [case for case in cases(ROWS, 1) if not case.labelled]
    assert [row["image"] for row in again[0].fitted] != [row["image"] for row in first.fitted[:100]]


def test_labelled_photos_are_the_first_of_each_product_and_all_others_are_measured() -> None:
    labelled = [case for case in cases(ROWS, 0) if case.labelled and "half" not in case.name]
    assert [len(case.fitted) for case in labelled] == [PRODUCTS, 2 * PRODUCTS, 3 * PRODUCTS]
    assert all(len(case.fitted) + len(case.others) == len(ROWS) for case in labelled)
    assert {row["image"] for row in labelled[0].fitted} == {f"{product}-0.jpg" for product in range(PRODUCTS)}


def test_with_labels_of_half_of_the_products_the_other_products_are_measured() -> None:
    for case in (case for case in cases(ROWS, 0) if "half of the products" in case.name):
        fitted, others = ({row["product_id"] for row in rows} for rows in (case.fitted, case.others))
        assert len(fitted) == PRODUCTS // 2
        assert fitted | others == {row["product_id"] for row in ROWS}
        assert not fitted & others


def test_a_line_shows_the_hit_rates_before_and_after() -> None:
    before: dict[str, Any] = {"n": 324, "hit@1": 0.3242, "hit@5": 0.6944, "hit@10": 0.8056}
    found = {"kept": True, "before": before, "after": before | {"hit@1": 0.6269}}
    line = line_of(Case("1 labelled a product", True, (), ()), found)
    assert line == "| 1 labelled a product | yes | 324 | 0.324 -> 0.627 | 0.694 -> 0.694 | 0.806 -> 0.806 |"
