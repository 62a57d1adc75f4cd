"""Weights of ranking: their form, what is refused, and the share that points in common bring."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_models.ranking_weights import shipped_weights
from sightline_server.domain.weights import (
    MOST,
    MOST_BYTES,
    NO_WEIGHTS,
    Scale,
    Weights,
    WeightsError,
    parse_weights,
    weights_of,
)
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import CODE_CONTRIBUTION

SOME = Weights(0.25, 0.125, 0.0625, least_inliers=10, full_inliers=40, scale=Scale.LOG)


def changed(**values: Any) -> bytes:
    """The file of `SOME` with other values; None removes one, and `points_NAME` is one of local_features."""
    facts = SOME.facts()
    for name, value in values.items():
        group, key = (facts["local_features"], name[7:]) if name.startswith("points_") else (facts, name)
        if value is None:
            del group[key]
        else:
            group[key] = value
    return json.dumps(facts).encode()


SOME_WITH_HUGE = changed().replace(b'"colours": 0.125', b'"colours": 1e999')


@st.composite
def some_weights(draw: st.DrawFn) -> Weights:
    least = draw(st.integers(8, 384))
    points, colours, text = (draw(st.floats(0, most)) for most in MOST.values())
    full, scale = draw(st.integers(least, 384)), draw(st.sampled_from(Scale))
    return Weights(points, colours, text, least_inliers=least, full_inliers=full, scale=scale)


def test_the_shipped_weights_can_be_used() -> None:
    shipped = parse_weights(shipped_weights())
    assert (shipped.local_features, shipped.least_inliers) == (0.2, 8)
    assert len(shipped.identity) == 12


@given(some_weights())
def test_a_file_gives_the_weights_that_made_it(weights: Weights) -> None:
    again = parse_weights(json.dumps(weights.facts()).encode())
    assert again == weights
    assert again.identity == weights.identity


def test_weights_are_in_units_of_similarity() -> None:
    facts = SOME.facts() | {"similarity": 2.0, "colours": 0.25, "printed_text": 0.125}
    facts["local_features"]["weight"] = 0.5
    assert weights_of(facts) == SOME


def test_the_order_of_names_does_not_matter_and_every_value_does() -> None:
    reversed_file = json.dumps(dict(reversed(SOME.facts().items()))).encode()
    assert parse_weights(reversed_file).identity == SOME.identity
    others: list[dict[str, Any]] = [
        {"colours": 0.1},
        {"printed_text": 0.1},
        {"points_full_inliers": 41},
        {"points_scale": "linear"},
    ]
    assert len({SOME.identity, *(parse_weights(changed(**each)).identity for each in others)}) == 5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 5000, "it is not JSON"),
        (b" " * (MOST_BYTES + 1), "more than 16 KiB"),
        (b"[]", "not a JSON object"),
        (b"{}", "no version"),
        (changed(version=2), "version 2, and this version of Sightline reads 1"),
        (changed(version=True), "version True"),
        (changed(version=10**400), "version 1000"),
        (changed(colours=math.nan), "the value NaN"),
        (changed(colours=math.inf), "the value Infinity"),
        (changed(colours=-0.01), r"colours is -0\.01, expected a number from 0 to 0\.3"),
        (changed(colours=0.31), r"colours is 0\.31"),
        (changed(colours=10**400), "colours is a very large number"),
        (changed(colours="0.1"), 'colours is "0.1"'),
        (changed(colours=True), "colours is true"),
        (changed(colours=[0.1] * 100), r"colours is \[0\.1.*\.\.\., expected"),
        (changed(similarity=0), "similarity is 0, expected a number from"),
        (changed(similarity=None), "similarity is missing"),
        (changed(points_weight=None), r"local_features\.weight is missing"),
        (changed(points_weight=0.51), r"local_features\.weight is 0\.51, expected a number from 0 to 0\.5"),
        (changed(local_features=0.2), "local_features is not a JSON object"),
        (changed(points_least_inliers=7), "expected a whole number from 8 to 384"),
        (changed(points_least_inliers=8.5), "least_inliers is 8.5"),
        (changed(points_full_inliers=9), "expected a whole number from 10 to 384"),
        (changed(points_scale="square"), 'scale is "square", expected one of linear, log'),
        (changed(points_scale=["log"]), "expected one of linear, log"),
        (changed(colors=0.1), "colors is not known; known are version, similarity, local_features, colours"),
        (b'{"version": 1, "version": 1}', "a name twice"),
        (changed(**{"a\x1b[31m\n\ud800": 0.1}), r"^a\\u001b\[31m\\u000a\\ud800 is not known"),
        (changed(version="1\n\x1b]0;"), r"^it has version 1\\u000a\\u001b\]0;, and this"),
        (changed(version="\ud800" * 500), "^it has version .{20}, and this"),
        (changed(colours="\n\x1b\ud800"), r'^colours is "\\n\\u001b\\ud800", expected'),
        (b'{"version": 1e999}', "version inf"),
        (SOME_WITH_HUGE, "colours is Infinity, expected"),
        (b"\xef\xbb\xbf{}", "it is not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason) as refused:
        parse_weights(content)
    assert len(str(refused.value)) < 250


@given(some_weights(), st.integers(0, 400), st.integers(0, 400))
def test_more_points_never_bring_less_and_never_more_than_the_weight(weights: Weights, one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert 0 <= weights.of_points(fewer) <= weights.of_points(more) <= weights.local_features + 1e-12
    assert weights.point_share(weights.full_inliers) == pytest.approx(1)
    assert weights.point_share(weights.least_inliers - 1) == 0


def test_the_two_scales_differ_below_the_full_number() -> None:
    linear, log = (Weights(0.2, full_inliers=60, scale=scale) for scale in Scale)
    assert linear.of_points(8) == pytest.approx(0.2 * 8 / 60)
    assert log.of_points(8) == pytest.approx(0.2 * math.log(9) / math.log(61))
    assert NO_WEIGHTS.of_points(60) == 0


def test_no_weights_lift_a_product_over_that_of_a_code() -> None:
    ranking = RankingSettings(category_bonus=0.5, unavailable_penalty=0.5)
    assert 2 + ranking.category_bonus + ranking.unavailable_penalty + sum(MOST.values()) < CODE_CONTRIBUTION
