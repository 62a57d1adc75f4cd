"""Effort of random and exhaustive tests: a short session by default, a long one with `pytest --long --timeout 0`."""

LONG_FACTOR = 20


class Effort:
    """The effort of this session; `pytest_configure` sets it before the tests are imported."""

    long = False


def examples(count: int) -> int:
    """The number of random examples where a short session takes `count`."""
    return count * LONG_FACTOR if Effort.long else count
