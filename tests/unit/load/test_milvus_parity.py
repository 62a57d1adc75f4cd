"""The comparison of two answers in `load_tests.milvus_parity`: ties may differ, products and similarities may not."""

import pytest

from load_tests.milvus_parity import Answer, compare

ONE: Answer = [("object-1", [("a", 0.9), ("b", 0.5), ("c", 0.5)]), ("object-2", [])]


def test_equal_answers_and_ties_do_not_differ() -> None:
    assert compare(ONE, ONE) == ([], 0.0)
    tied: Answer = [("object-1", [("a", 0.9), ("c", 0.5), ("b", 0.5)]), ("object-2", [])]
    assert compare(ONE, tied) == ([], 0.0)


@pytest.mark.parametrize(
    ("products", "difference"),
    [
        ([("a", 0.9), ("b", 0.5)], "object-1 has 2 products instead of 3"),
        ([("a", 0.9), ("x", 0.499), ("c", 0.5)], "object-1 has x instead of b"),
        ([("a", 0.89), ("b", 0.5), ("c", 0.5)], "object-1: similarities differ by 0.0100"),
    ],
)
def test_another_product_or_similarity_is_a_difference(products: list[tuple[str, float]], difference: str) -> None:
    assert compare(ONE, [("object-1", products), ("object-2", [])])[0] == [difference]


def test_other_objects_are_a_difference() -> None:
    assert compare(ONE, ONE[:1])[0] == ["other objects"]
