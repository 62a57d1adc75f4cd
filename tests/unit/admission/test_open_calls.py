"""Open calls by connection and in all."""

from contextlib import ExitStack

import pytest

from sightline_server.admission.open_calls import OpenCalls
from sightline_server.errors import ErrorKind, SightlineError

ONE, OTHER = "ipv4:10.0.0.1:4000", "ipv4:10.0.0.1:4001"


def refusal(calls: OpenCalls, peer: str) -> SightlineError:
    before = calls.count
    with pytest.raises(SightlineError) as caught, calls.enter(peer):
        raise AssertionError("it was let in")
    assert calls.count == before
    return caught.value


def test_one_connection_does_not_take_the_places_of_others() -> None:
    told: list[int] = []
    calls = OpenCalls(most=4, most_of_one=2, on_count=told.append)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(calls.enter(ONE))
        error = refusal(calls, ONE)
        assert (error.kind, error.metadata) == (ErrorKind.OVERLOADED, {"limit": "connection_calls"})
        assert error.retry_after_s
        for _ in range(2):
            stack.enter_context(calls.enter(OTHER))
        assert refusal(calls, "ipv4:10.0.0.2:1").metadata == {"limit": "open_calls"}
    assert calls.count == 0
    assert told == [1, 2, 3, 4, 3, 2, 1, 0]


def test_a_place_is_free_again_after_any_end() -> None:
    calls = OpenCalls(most=1, most_of_one=1, name="watches")
    for _ in range(2):
        with calls.enter(ONE):
            assert refusal(calls, ONE).metadata == {"limit": "connection_watches"}
        with pytest.raises(RuntimeError), calls.enter(ONE):
            raise RuntimeError
    assert not calls._by_peer


def test_callers_on_a_unix_socket_are_bounded_in_all_only() -> None:
    calls = OpenCalls(most=3, most_of_one=1)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(calls.enter("unix:/run/sightline.sock"))
        assert refusal(calls, "unix:/run/sightline.sock").metadata == {"limit": "open_calls"}
