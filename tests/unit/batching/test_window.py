"""The waiting room against a plain model of it, over any sequence of offers, withdrawals, takes and closings."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sightline_server.batching.window import Entry, EntryState, Window, WindowFull

FAR = 1e9


def entry(*items: str, deadline: float = FAR, lane: int = 0) -> Entry[str]:
    return Entry(items, deadline, 0.0, lane)


@pytest.mark.parametrize("bound", ["max_batch", "max_waiting", "lanes"])
def test_bounds_must_be_positive(bound: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        Window(**{"max_batch": 1, "max_waiting": 1, "lanes": 1, bound: 0})


def test_an_entry_that_could_never_run_is_an_error() -> None:
    window: Window[str] = Window(max_batch=2, max_waiting=8)
    for wrong in (entry(), entry("a", "b", "c")):
        with pytest.raises(ValueError, match="1 to 2"):
            window.offer(wrong)
    assert window.waiting == 0


def test_what_does_not_fit_is_refused_and_leaves_no_trace() -> None:
    window: Window[str] = Window(max_batch=2, max_waiting=3)
    window.offer(entry("a", "b"))
    with pytest.raises(WindowFull):
        window.offer(entry("c", "d"))
    window.offer(entry("e"))
    assert window.waiting == 3


def test_items_of_one_entry_stay_together_and_order_is_kept() -> None:
    window: Window[str] = Window(max_batch=3, max_waiting=9)
    first, second, third = entry("a", "b"), entry("c", "d"), entry("e")
    for each in (first, second, third):
        window.offer(each)
    # The third would fit, but does not overtake the second.
    assert window.take(0.0).entries == (first,)
    batch = window.take(0.0)
    assert batch.entries == (second, third)
    assert batch.items == ["c", "d", "e"]


def test_the_lower_lane_goes_first_and_is_not_overtaken() -> None:
    window: Window[str] = Window(max_batch=2, max_waiting=9, lanes=2)
    patient, urgent, large = entry("p", lane=1), entry("u"), entry("l", "l")
    for each in (patient, urgent, large):
        window.offer(each)
    assert window.take(0.0).entries == (urgent,)
    assert window.take(0.0).entries == (large,)
    assert window.take(0.0).entries == (patient,)


def test_expired_entries_cost_no_place() -> None:
    window: Window[str] = Window(max_batch=1, max_waiting=9)
    late, later, alive = entry("x", deadline=1.0), entry("y", deadline=1.0), entry("z", deadline=1.5)
    for each in (late, later, alive):
        window.offer(each)
    batch = window.take(1.0)
    assert batch.expired == (late, later)
    assert batch.entries == (alive,)
    assert window.waiting == 0


def test_a_batch_is_worth_running_until_its_last_deadline() -> None:
    window: Window[str] = Window(max_batch=4, max_waiting=4)
    window.offer(entry("a", deadline=3.0))
    window.offer(entry("b", deadline=2.0))
    assert window.take(0.0).deadline == 3.0


def test_what_left_cannot_be_withdrawn() -> None:
    window: Window[str] = Window(max_batch=4, max_waiting=4)
    taken, expired, gone = entry("a"), entry("b", deadline=0.0), entry("c")
    for each in (taken, expired):
        window.offer(each)
    window.take(0.0)
    window.offer(gone)
    assert window.withdraw(gone)
    assert [window.withdraw(each) for each in (taken, expired, gone)] == [False, False, False]
    assert window.waiting == 0


class WindowMachine(RuleBasedStateMachine):
    """Everything that may happen to a window; `offered` is the plain model: what should wait, in order, by lane."""

    waiting = Bundle("waiting")

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[int] = Window(max_batch=5, max_waiting=12, lanes=2)
        self.offered: list[list[Entry[int]]] = [[], []]
        self.left: list[Entry[int]] = []
        self.now = 0.0
        self.count = 0

    @rule(target=waiting, cost=st.integers(1, 5), life=st.integers(-1, 6), lane=st.integers(0, 1))
    def offer(self, cost: int, life: int, lane: int) -> Entry[int]:
        items = tuple(range(self.count, self.count + cost))
        self.count += cost
        made = Entry(items, self.now + life, self.now, lane)
        fits = sum(e.cost for e in self.offered[0] + self.offered[1]) + cost <= 12
        try:
            self.window.offer(made)
        except WindowFull:
            assert not fits
            self.left.append(made)
        else:
            assert fits
            self.offered[lane].append(made)
        return made

    @rule(who=consumes(waiting))
    def withdraw(self, who: Entry[int]) -> None:
        waits = who in self.offered[who.lane]
        withdrawn = self.window.withdraw(who) if waits or who not in self.left else False
        assert withdrawn is waits
        if waits:
            self.offered[who.lane].remove(who)
            self.left.append(who)
            assert who.state is EntryState.WITHDRAWN

    @rule(step=st.integers(0, 3))
    def take(self, step: int) -> None:
        self.now += step
        before = [list(lane) for lane in self.offered]
        batch = self.window.take(self.now)
        gone = [*batch.entries, *batch.expired]
        assert len(set(gone)) == len(gone)
        assert sum(e.cost for e in batch.entries) <= 5
        assert all(e.deadline > self.now and e.state is EntryState.TAKEN for e in batch.entries)
        assert all(e.deadline <= self.now and e.state is EntryState.EXPIRED for e in batch.expired)
        for lane, held in enumerate(before):
            mine = [e for e in batch.entries if e.lane == lane]
            assert mine == [e for e in held if e in mine], "order within a lane"
            # What leaves is a prefix: nobody overtakes within a lane.
            assert set(held[: len([e for e in held if e in gone])]) == {e for e in held if e in gone}
            self.offered[lane] = [e for e in held if e not in gone]
        if any(e.lane == 1 for e in gone):
            assert not self.offered[0], "the lower lane goes first"
        if any(self.offered):
            # What stays did not fit: the batch grew as far as it could.
            head = (self.offered[0] or self.offered[1])[0]
            assert sum(e.cost for e in batch.entries) + head.cost > 5
        self.left += gone

    @rule()
    def close(self) -> None:
        expected = [*self.offered[0], *self.offered[1]]
        assert list(self.window.close()) == expected
        assert all(e.state is EntryState.WITHDRAWN for e in expected)
        self.left += expected
        self.offered = [[], []]

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.window.waiting == sum(e.cost for lane in self.offered for e in lane)
        everyone = [*self.left, *self.offered[0], *self.offered[1]]
        assert len(set(everyone)) == len(everyone)
        items = sorted(item for e in everyone for item in e.items)
        assert items == list(range(self.count))


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
