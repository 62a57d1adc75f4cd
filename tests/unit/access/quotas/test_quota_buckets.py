"""The table of buckets against a simple model: no token too many, none lost, and a size that never grows."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.access.quotas.buckets import BUSY, WAYS, Buckets, size_of
from sightline_server.access.quotas.memory import OwnMemory
from sightline_server.access.quotas.quota import BYTES, CALLS, CONCURRENT, Quota, Rate

MINUTE = Quota(calls=Rate(60, 3), bytes=Rate(600, 100), concurrent=2)


def buckets(sets: int = 1, workers: int = 1, worker: int = 0, memory: OwnMemory | None = None) -> Buckets:
    memory = memory or OwnMemory(size_of(sets, workers))
    return Buckets(memory, sets=sets, workers=workers, worker=worker)


@dataclass
class Model:
    """The use of one key, in exact numbers: seconds are whole and the rates are 1 call and 10 bytes a second."""

    at: int = 0
    calls: int = 0
    size: int = 0
    inside: int = 0

    def drain(self, now: int) -> None:
        seconds = now - self.at
        self.at, self.calls, self.size = now, max(0, self.calls - seconds), max(0, self.size - 10 * seconds)

    def enter(self, now: int) -> str:
        self.drain(now)
        if self.inside >= 2:
            return CONCURRENT
        if self.calls + 1 > 3:
            return CALLS
        if self.size > 100:
            return BYTES
        self.calls += 1
        self.inside += 1
        return ""

    def charge(self, size: int, now: int) -> str:
        self.drain(now)
        owed = self.size > 100
        self.size += size
        return BYTES if owed else ""


@dataclass
class Forgetful:
    """Models by key; the one that was used least recently goes where there is no room and nobody is inside."""

    room: int
    models: dict[bytes, Model] = field(default_factory=dict)

    def of(self, key: bytes, now: int) -> Model | None:
        if key not in self.models:
            if len(self.models) >= self.room:
                idle = [each for each, model in self.models.items() if not model.inside]
                if not idle:
                    return None
                del self.models[idle[0]]
            self.models[key] = Model(at=now)
        # The least recently used one comes first.
        self.models[key] = self.models.pop(key)
        return self.models[key]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("enter", "leave", "charge")), st.integers(0, 20), st.integers(0, 250), st.integers(1, 8)
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=50)
@given(STEPS)
def test_one_set_behaves_as_a_dictionary_that_forgets_the_least_recently_used(
    steps: list[tuple[str, int, int, int]],
) -> None:
    table, model, now = buckets(), Forgetful(WAYS), 1000
    inside: dict[bytes, list[int]] = {}
    for action, number, size, seconds in steps:
        # Each step has its own instant, or which of two keys is older would be undefined.
        now, key = now + seconds, f"key-{number}".encode()
        if action == "leave":
            if inside.get(key):
                table.leave(inside[key].pop())
                model.models[key].inside -= 1
            continue
        expected = model.of(key, now)
        if action == "enter":
            found = table.enter(key, MINUTE, float(now))
            assert found.refused_by == (BUSY if expected is None else expected.enter(now))
            if not found.refused_by:
                inside.setdefault(key, []).append(found.record)
        else:
            found = table.charge(key, MINUTE, size, float(now))
            assert found.refused_by == (BUSY if expected is None else expected.charge(size, now))
        if expected is not None:
            assert table.inside(found.record) == expected.inside


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 30, allow_nan=False), max_size=60),
)
def test_no_window_has_more_calls_than_the_burst_and_the_refill(
    per_minute: int, burst: int, pauses: list[float]
) -> None:
    table, quota, now = buckets(), Quota(calls=Rate(per_minute, burst)), 5.0
    admitted: list[float] = []
    for pause in pauses:
        now += pause
        if not table.take(b"key", quota, now).refused_by:
            admitted.append(now)
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            allowed = burst + (admitted[last] - start) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 10_000), st.integers(1, 20), st.floats(0, 1000))
def test_a_refusal_says_when_the_next_call_fits(per_minute: int, burst: int, start: float) -> None:
    table, quota = buckets(), Quota(calls=Rate(per_minute, burst))
    for _ in range(burst):
        assert table.take(b"key", quota, start).refused_by == ""
    refused = table.take(b"key", quota, start)
    assert refused.refused_by == CALLS
    assert refused.wait_s == pytest.approx(60 / per_minute)
    assert table.take(b"key", quota, start + refused.wait_s * 0.9).refused_by == CALLS
    assert table.take(b"key", quota, start + refused.wait_s + 0.001).refused_by == ""


def test_a_bucket_holds_no_more_than_its_burst_after_a_long_pause() -> None:
    table, quota = buckets(), Quota(calls=Rate(60, 2))
    found = [table.take(b"key", quota, now).refused_by for now in (0.0, 1e6, 1e6, 1e6)]
    assert found == ["", "", "", CALLS]


def test_a_larger_rate_gives_room_at_once_and_a_smaller_one_forgets_nothing() -> None:
    table = buckets()
    for _ in range(10):
        assert not table.take(b"key", Quota(calls=Rate(10, 10)), 1.0).refused_by
    assert table.take(b"key", Quota(calls=Rate(10, 10)), 1.0).refused_by
    for _ in range(90):
        assert not table.take(b"key", Quota(calls=Rate(100, 100)), 1.0).refused_by
    assert table.take(b"key", Quota(calls=Rate(100, 100)), 1.0).refused_by
    refused = table.take(b"key", Quota(calls=Rate(60, 5)), 1.0)
    assert refused.refused_by == CALLS
    assert refused.wait_s == pytest.approx(96.0)


def test_a_message_is_taken_while_no_bytes_are_owed_and_its_excess_is_paid_back() -> None:
    table, quota = buckets(), Quota(bytes=Rate(600, 100))
    assert table.charge(b"key", quota, 100, 1.0).refused_by == ""
    assert table.charge(b"key", quota, 500, 1.0).refused_by == "", "nothing was owed"
    assert table.enter(b"key", quota, 1.0).refused_by == BYTES
    late = table.charge(b"key", quota, 30, 1.0)
    assert late.refused_by == BYTES
    assert table.enter(b"key", quota, 1.0).wait_s == pytest.approx(53.0)
    assert table.enter(b"key", quota, 54.001).refused_by == ""


def test_workers_count_together_and_one_that_ended_is_forgotten() -> None:
    memory, quota = OwnMemory(size_of(4, 3)), Quota(calls=Rate(60, 100), concurrent=3)
    workers = [buckets(4, 3, number, memory) for number in range(3)]
    entered = [worker.enter(b"key", quota, 1.0) for worker in workers]
    assert [each.refused_by for each in entered] == ["", "", ""]
    assert {worker.enter(b"key", quota, 1.0).refused_by for worker in workers} == {CONCURRENT}
    workers[0].forget(2)
    assert workers[1].enter(b"key", quota, 1.0).refused_by == ""
    assert workers[1].enter(b"key", quota, 1.0).refused_by == CONCURRENT
    workers[0].leave(entered[0].record)
    assert workers[2].enter(b"key", quota, 1.0).refused_by == ""


def test_a_refused_call_takes_no_token() -> None:
    table, quota = buckets(), Quota(calls=Rate(60, 2), concurrent=1)
    first = table.enter(b"key", quota, 1.0)
    assert [table.enter(b"key", quota, 1.0).refused_by for _ in range(5)] == [CONCURRENT] * 5
    table.leave(first.record)
    assert table.enter(b"key", quota, 1.0).refused_by == ""


def test_a_clock_that_is_behind_gives_nothing_back() -> None:
    table, quota = buckets(), Quota(calls=Rate(60, 1))
    assert table.take(b"key", quota, 100.0).refused_by == ""
    assert table.take(b"key", quota, 40.0).refused_by == CALLS
    assert table.take(b"key", quota, 100.5).refused_by == CALLS


def keys(count: int) -> Iterator[bytes]:
    return (number.to_bytes(8, "big") for number in range(count))


def test_many_keys_take_no_more_memory_than_few_and_a_busy_one_keeps_its_count() -> None:
    quota, sets = Quota(calls=Rate(10, 1)), 8
    table = buckets(sets)
    busy = table.enter(b"busy", quota, 1.0)
    tracemalloc.start()
    for number, key in enumerate(keys(2000)):
        assert not table.take(key, quota, 2.0 + number * 1e-6).refused_by
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024
    assert table.records == sets * WAYS
    assert table.enter(b"busy", quota, 3.0).refused_by == CALLS, "it has calls inside, so its record was not given away"
    assert table.inside(busy.record) == 1


def test_a_set_whose_keys_all_have_calls_inside_refuses_another_key() -> None:
    table, quota = buckets(), Quota(concurrent=1)
    for key in keys(WAYS):
        assert table.enter(key, quota, 1.0).refused_by == ""
    assert table.enter(b"another", quota, 1.0).refused_by == BUSY
