"""The adaptive limit against a model of a server: a fixed capacity, and times that grow with the calls inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.admission.limiter import AdaptiveLimit


def saturate(limit: AdaptiveLimit, capacity_per_s: float, calls: int) -> float:
    """Keeps as many calls inside as the limit allows; returns the seconds that the last one took (Little's law)."""
    took = 0.0
    for _ in range(calls):
        inside = limit.calls
        took = inside / capacity_per_s
        limit.sample(took, inside)
    return took


@pytest.mark.parametrize(("capacity", "expected"), [(8.0, 8), (20.0, 20), (500.0, 64)])
def test_saturated_it_settles_where_the_target_is_just_kept(capacity: float, expected: int) -> None:
    limit = AdaptiveLimit(target_s=1.0, floor=2, ceiling=64)
    took = saturate(limit, capacity, 3000)
    assert limit.calls == pytest.approx(expected, rel=0.2)
    assert took <= 1.2


def test_it_shrinks_when_the_machine_becomes_slower_and_grows_again() -> None:
    limit = AdaptiveLimit(target_s=1.0, floor=2, ceiling=64)
    saturate(limit, 40.0, 3000)
    fast = limit.calls
    saturate(limit, 4.0, 600)
    assert limit.calls <= 6
    saturate(limit, 40.0, 6000)
    assert limit.calls >= 0.8 * fast


def test_it_does_not_grow_while_nobody_reaches_it() -> None:
    limit = AdaptiveLimit(target_s=1.0, floor=2, ceiling=64)
    before = limit.calls
    for _ in range(1000):
        limit.sample(0.1, 1)
    assert limit.calls == before


def test_one_slow_call_among_many_does_not_shrink_it() -> None:
    limit = AdaptiveLimit(target_s=1.0, floor=2, ceiling=8)
    for place in range(800):
        limit.sample(30.0 if place % 40 == 0 else 0.1, 8)
    assert limit.calls == 8


def test_the_expected_time_grows_with_the_calls_inside() -> None:
    limit = AdaptiveLimit(target_s=1.0, floor=2, ceiling=64)
    assert limit.expected_s(5) == 0.0, "nothing is known yet"
    for _ in range(20):
        limit.sample(0.5, 5)
    assert limit.expected_s(4) == pytest.approx(0.5)
    assert limit.expected_s(9) == pytest.approx(1.0)


@given(
    floor=st.integers(1, 10),
    room=st.integers(0, 50),
    samples=st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 100)), max_size=400),
)
def test_it_never_leaves_its_bounds(floor: int, room: int, samples: list[tuple[float, int]]) -> None:
    limit = AdaptiveLimit(target_s=1.0, floor=floor, ceiling=floor + room)
    for seconds, inside in samples:
        limit.sample(seconds, inside)
        assert floor <= limit.calls <= floor + room
        assert limit.expected_s(inside) >= 0.0
