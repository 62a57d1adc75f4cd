"""The quotas of calls: taken, charged and given back, with the errors of refusals."""

from collections.abc import Iterable

import pytest

from sightline_server.access.quotas.quota import NO_QUOTA, WHOLE, Quota, Rate, Share
from sightline_server.access.quotas.quotas import UNLIMITED, Quotas
from sightline_server.access.quotas.tables import QuotaTables
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.clock import HandClock


class Bench:
    """Quotas by a table that a test changes, with its own clock."""

    def __init__(self, **quotas: Quota) -> None:
        self.clock = HandClock()
        self.by_name = quotas
        self.limited: list[tuple[str, tuple[str, ...]]] = []
        self.quotas = Quotas(
            lambda name: self.by_name.get(name, NO_QUOTA),
            QuotaTables.own(),
            clock=self.clock,
            on_limited=self.on_limited,
        )

    def on_limited(self, principal: str, kinds: Iterable[str]) -> None:
        self.limited.append((principal, tuple(kinds)))

    def call(self, principal: str = "app", size: int = 0) -> None:
        with self.quotas.of(principal) as entered:
            entered.charge(size)

    def refusal(self, principal: str = "app", size: int = 0) -> SightlineError:
        with pytest.raises(SightlineError) as caught:
            self.call(principal, size)
        assert caught.value.kind is ErrorKind.QUOTA_EXCEEDED
        return caught.value


def test_a_principal_without_a_quota_is_not_counted() -> None:
    bench = Bench(app=Quota(calls=Rate(1, 1)))
    assert bench.quotas.of("other") is UNLIMITED
    for _ in range(3):
        bench.call("other", 10**9)
    bench.call()
    assert bench.refusal().metadata == {"quota": "calls_per_minute", "subject": "principal"}


def test_a_refusal_says_the_bound_and_after_its_delay_the_call_fits() -> None:
    bench = Bench(app=Quota(calls=Rate(7, 2)))
    bench.call()
    bench.call()
    error = bench.refusal()
    assert error.message == "the quota of this caller is used up: 7 calls a minute, 2 at once"
    assert error.retry_after_s == pytest.approx(60 / 7, abs=0.0021)
    assert error.retry_after_s is not None
    bench.clock.now += error.retry_after_s
    bench.call()
    bench.refusal()


def test_bytes_are_charged_after_the_read_and_refused_at_the_headers_of_the_next_call() -> None:
    bench = Bench(app=Quota(bytes=Rate(6000, 1000)))
    bench.call(size=1600)
    error = bench.refusal()
    assert error.message == "the quota of this caller is used up: 6000 bytes of requests a minute, 1000 at once"
    assert error.metadata["quota"] == "bytes_per_minute"
    assert error.retry_after_s == pytest.approx(6.0, abs=0.0021)
    bench.clock.now += 6.1
    bench.call()


def test_calls_that_are_read_at_once_are_refused_after_the_first_that_exceeds_the_bytes() -> None:
    bench = Bench(app=Quota(bytes=Rate(6000, 1000)))
    with bench.quotas.of("app") as one, bench.quotas.of("app") as two:
        one.charge(5000)
        with pytest.raises(SightlineError, match="bytes of requests a minute"):
            two.charge(10)


def test_open_calls_are_bounded_and_end_with_any_error() -> None:
    bench = Bench(app=Quota(concurrent=2), other=Quota(concurrent=1))
    with bench.quotas.of("app"), bench.quotas.of("app"):
        error = bench.refusal()
        assert error.message == "the quota of this caller is used up: 2 open calls"
        assert error.retry_after_s == pytest.approx(1.0, abs=0.0021)
        bench.call("other")
    with pytest.raises(RuntimeError), bench.quotas.of("app"):
        raise RuntimeError
    for _ in range(3):
        bench.call()


def test_a_new_policy_changes_the_bounds_and_keeps_the_counts() -> None:
    bench = Bench(app=Quota(calls=Rate(60, 10)))
    for _ in range(10):
        bench.call()
    bench.by_name = {"app": Quota(calls=Rate(60, 12), concurrent=1)}
    bench.call()
    with bench.quotas.of("app"):
        bench.by_name = {"app": Quota(concurrent=5)}
        # A call goes on under the quota that it began with, and is counted under the new one.
        with bench.quotas.of("app"), bench.quotas.of("app"), bench.quotas.of("app"), bench.quotas.of("app"):
            assert bench.refusal().metadata["quota"] == "concurrent"
    bench.by_name = {}
    bench.call()


def test_a_share_is_handed_to_admission_and_is_not_counted_here() -> None:
    bench = Bench(app=Quota(share=0.25), other=Quota(concurrent=1))
    assert bench.quotas.of("app").share == Share("app", 0.25)
    assert bench.quotas.of("other").share is WHOLE
    with bench.quotas.of("app"), bench.quotas.of("app"):
        bench.call()


def test_each_principal_is_reported_with_its_bounds_once_per_policy() -> None:
    bench = Bench(app=Quota(calls=Rate(60, 10), share=0.5), other=Quota(concurrent=1))
    for _ in range(3):
        bench.call()
        bench.call("other")
        bench.call("nobody")
    assert bench.limited == [("app", ("calls_per_minute", "share")), ("other", ("concurrent",))]
    bench.by_name["app"] = Quota(bytes=Rate(60, 10))
    bench.call()
    assert bench.limited[2:] == [("app", ("bytes_per_minute",))]
