"""Shares of the slots: a caller at its bound leaves the rest to the others, also when the limit shrinks."""

from contextlib import ExitStack

import pytest

from sightline_server.access.quotas.quota import WHOLE, Share
from sightline_server.admission.limiter import AdaptiveLimit
from sightline_server.admission.slots import Admission, ServerState
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError

HALF, OTHER = Share("app", 0.5), Share("other", 0.25)


class MovableLimit(AdaptiveLimit):
    """A limit that a test moves."""

    def __init__(self, calls: int) -> None:
        super().__init__(target_s=1.0, floor=1, ceiling=64)
        self.moved_to = calls

    @property
    def calls(self) -> int:
        return self.moved_to


@pytest.fixture
def limit() -> MovableLimit:
    return MovableLimit(8)


@pytest.fixture
async def admission(limit: MovableLimit) -> Admission:
    made = Admission(limit=limit, engine_ready=lambda: True, clock=lambda: 0.0)
    made.state = ServerState.SERVING
    return made


def enter(stack: ExitStack, admission: Admission, share: Share, lane: Lane = Lane.INTERACTIVE) -> str:
    """Enters for the length of the stack; the reason of a refusal, or nothing."""
    try:
        admission.check(deadline=9.0, lane=lane, share=share)
        stack.enter_context(admission.enter(deadline=9.0, lane=lane, share=share))
    except SightlineError as error:
        return str(error.metadata.get("quota") or error.metadata.get("limit"))
    return ""


async def test_a_caller_at_its_share_is_refused_and_the_others_get_the_rest(admission: Admission) -> None:
    with ExitStack() as stack:
        assert [enter(stack, admission, HALF) for _ in range(5)] == ["", "", "", "", "share"]
        assert [enter(stack, admission, OTHER) for _ in range(3)] == ["", "", "share"]
        assert [enter(stack, admission, WHOLE) for _ in range(3)] == ["", "", "concurrency"]
        assert enter(stack, admission, HALF) == "share", "its own bound is named, not that of the server"
    with ExitStack() as stack:
        assert [enter(stack, admission, HALF) for _ in range(5)] == ["", "", "", "", "share"]


async def test_a_share_follows_the_limit_and_is_never_less_than_one_slot(
    admission: Admission, limit: MovableLimit
) -> None:
    with ExitStack() as stack:
        assert [enter(stack, admission, HALF) for _ in range(3)] == ["", "", ""]
        limit.moved_to = 6
        assert enter(stack, admission, HALF) == "share"
        limit.moved_to = 10
        assert enter(stack, admission, HALF) == ""
    limit.moved_to = 1
    with ExitStack() as stack:
        assert [enter(stack, admission, OTHER) for _ in range(2)] == ["", "share"]


async def test_the_batch_lane_bounds_a_share_too(admission: Admission) -> None:
    large = Share("app", 0.9)
    with ExitStack() as stack:
        found = [enter(stack, admission, large, Lane.BATCH) for _ in range(5)]
        assert found == ["", "", "", "", "concurrency"]


async def test_a_refusal_by_a_share_is_that_of_a_quota(admission: Admission) -> None:
    with ExitStack() as stack:
        assert [enter(stack, admission, OTHER) for _ in range(2)] == ["", ""]
        with pytest.raises(SightlineError) as caught:
            admission.check(deadline=9.0, lane=Lane.INTERACTIVE, share=OTHER)
    assert caught.value.kind is ErrorKind.QUOTA_EXCEEDED
    assert caught.value.metadata == {"quota": "share", "subject": "principal"}
    assert caught.value.message == "this caller has its share of the server's slots, 2 at the moment"
    assert caught.value.retry_after_s
