"""The waits of one merge for searches."""

from sightline_server.index.live.patience import ONCE_S, TOTAL_S, Patience
from tests.support.clock import HandClock


class Busy:
    """Searches without a pause: each wait takes all the time that it may."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.now += seconds


def test_waits_are_bounded_alone_and_together() -> None:
    busy = Busy()
    patience = Patience(busy, busy.clock)
    for _ in range(100):
        patience.wait()
    assert max(busy.waits) == ONCE_S
    assert sum(busy.waits) == TOTAL_S


def test_no_wait_begins_after_the_end() -> None:
    busy = Busy()
    patience = Patience(busy, busy.clock)
    patience.wait()
    patience.end()
    patience.wait()
    assert len(busy.waits) == 1
