"""The adaptive limit: it grows while it is reached and in time, shrinks when late, and never leaves its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.rpc.limiter import FIRST_LIMIT, AdaptiveLimit


def limit(target_s: float = 1.0, floor: int = 2, ceiling: int = 64) -> AdaptiveLimit:
    return AdaptiveLimit(target_s=target_s, floor=floor, ceiling=ceiling)


def window(made: AdaptiveLimit, seconds: float, inside: int | None = None) -> int:
    """Feeds one window of equal samples; returns the limit after it."""
    for _ in range(min(max(made.calls, 5), 50)):
        made.sample(seconds, made.calls if inside is None else inside)
    return made.calls


def test_it_starts_small_and_within_its_bounds() -> None:
    assert limit().calls == FIRST_LIMIT
    assert limit(ceiling=3).calls == 3
    assert limit(floor=20).calls == 20


def test_it_grows_by_half_until_the_first_late_window_and_by_one_after_it() -> None:
    made = limit()
    assert [window(made, 0.5) for _ in range(3)] == [12, 18, 27]
    assert window(made, 2.0) == 24
    assert [window(made, 0.5) for _ in range(3)] == [25, 26, 27]


def test_it_does_not_grow_while_it_is_not_reached() -> None:
    made = limit()
    assert [window(made, 0.5, inside=3) for _ in range(9)] == [FIRST_LIMIT] * 9


def test_it_recovers_from_the_floor() -> None:
    made = limit()
    while window(made, 9.0) > 2:
        pass
    assert [window(made, 9.0) for _ in range(3)] == [2, 2, 2]
    assert window(made, 0.1) == 3
    assert window(made, 0.1) == 4


def test_one_straggler_among_many_is_not_late() -> None:
    made = limit(floor=50, ceiling=60)
    for place in range(50):
        made.sample(9.0 if place == 7 else 0.1, 50)
    assert made.calls == 60


@pytest.mark.parametrize("inside", [0, 1, 7])
def test_nothing_is_expected_before_anything_is_known(inside: int) -> None:
    made = limit()
    for _ in range(4):
        assert made.expected_s(inside) == 0.0
        made.sample(1.0, 1)
    made.sample(1.0, 1)
    assert made.expected_s(inside) == pytest.approx(1.0 * (inside + 1))


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 100)), max_size=300), st.integers(1, 5), st.integers(5, 90))
def test_whatever_it_learns_it_stays_within_its_bounds(
    samples: list[tuple[float, int]], floor: int, ceiling: int
) -> None:
    made = limit(floor=floor, ceiling=ceiling)
    for seconds, inside in samples:
        made.sample(seconds, inside)
        assert floor <= made.calls <= ceiling
        assert 0.0 <= made.expected_s(inside) < float("inf")
