"""Weights that are fitted on one half of the products and measured on the other."""

from load_tests.hit_rates.answers import Asked, Candidate
from load_tests.step_weights import SHIPPED, facts_of, fitted, halves, hits, ranks, report


def photo(product_id: str, *, misled: float = 0.0) -> Asked:
    """A photo whose own product is read on it, and another one that has `misled` of the text."""
    own = Candidate(product_id, 0.5, {"PRINTED_TEXT": 0.08})
    other = Candidate("other", 0.6, {"PRINTED_TEXT": 0.2 * misled, "LOCAL_FEATURES": 0.01, "COLOUR": 0.0001})
    return Asked(f"{product_id}.jpg", product_id, "Packages", (own, other), {})


def test_shares_are_contributions_over_the_weights_of_the_answers() -> None:
    facts, own = facts_of(photo("a"))
    assert own == 0
    assert facts.round(6).tolist() == [[0.5, 0.0, 0.4, 0.0], [0.6, 0.05, 0.0, 0.1]]
    assert ranks([(facts, own)], SHIPPED) == [2]
    assert ranks([(facts, own)], (0.2, 0.3, 0.0)) == [1]
    assert ranks([(facts, None)], SHIPPED) == [None]


def test_the_closest_weights_with_the_most_first_hits_are_chosen() -> None:
    assert fitted([facts_of(photo("a"))]) == (0.2, 0.3, 0.0)
    # Nothing helps, so nothing changes.
    assert fitted([facts_of(photo("a", misled=1.0))]) == SHIPPED


def test_products_are_in_one_half_only_and_refused_photos_in_none() -> None:
    refused = Asked("r.jpg", "d", "Packages", (), {})
    first, second = halves([photo("a"), photo("b"), photo("a"), photo("c"), refused])
    assert [each.product_id for each in first] == ["a", "a", "c"]
    assert [each.product_id for each in second] == ["b"]


def test_each_half_is_measured_with_the_weights_of_the_other() -> None:
    found = report([photo("a"), photo("b", misled=1.0)])
    assert found["answered"] == 2
    fitted_on_a, fitted_on_b = found["halves"]
    assert (fitted_on_a["fitted"]["printed_text"], fitted_on_a["gained"], fitted_on_a["lost"]) == (0.3, 0, 0)
    assert (fitted_on_b["fitted"]["printed_text"], fitted_on_b["shipped"]["hit@1"]) == (0.2, 0)
    assert found["all"]["0.2 0.4 0"] == hits([1, 2])
