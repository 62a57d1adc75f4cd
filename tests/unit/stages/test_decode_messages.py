"""Checks of a decode process's answers: each is a message, a photo's error, or reported as nonsense."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.errors import SightlineError
from sightline_server.stages.colours import MAX_PROFILE
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.processes.messages import Decoded, Header, NonsenseError, Order, refusal
from sightline_server.stages.refusals import too_large

LIMITS = DecodeLimits(1 << 20, 64_000_000, 3072, ("tiff",))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(("", "INVALID_IMAGE", "INTERNAL"))
VALUES: st.SearchStrategy[object] = (
    SCALARS | st.lists(SCALARS | st.just({}), max_size=4) | st.dictionaries(st.just("header"), SCALARS)
)
MESSAGES = VALUES | st.dictionaries(st.sampled_from(("header", "decoded", "refused")), VALUES, max_size=2)


def test_messages_come_back_as_they_went() -> None:
    assert Order.decode(Order(LIMITS).encode()) == Order(LIMITS)
    assert Header.decode(Header(640, 480, 7).encode()) == Header(640, 480, 7)
    assert Decoded.decode(Decoded(64, 48, 9).encode(), 64 * 48 * 3 + 9) == Decoded(64, 48, 9)


def test_a_refusal_comes_back_as_the_error() -> None:
    error = too_large("pixels", 9, 8)
    with pytest.raises(SightlineError) as caught:
        Header.decode(refusal(error))
    assert (caught.value.kind, caught.value.message) == (error.kind, error.message)
    assert dict(caught.value.metadata) == dict(error.metadata)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xfe",
        b"[" * 16000,
        b"[]",
        b"{}",
        b'{"header": [0, 1, 1]}',
        b'{"header": [40000, 1, 1]}',
        b'{"header": [true, 1, 1]}',
        b'{"header": [1, 1]}',
        b'{"header": [1, 1, -1]}',
        b'{"refused": ["INTERNAL", "text", {}]}',
        b'{"refused": ["NO_KIND", "text", {}]}',
        b'{"refused": ["INVALID_IMAGE", "text", []]}',
        b'{"refused": null}',
    ],
)
def test_nonsense_is_no_header(message: bytes) -> None:
    with pytest.raises(NonsenseError):
        Header.decode(message)


@pytest.mark.parametrize("numbers", [(0, 1, 0), (1, -1, 0), (2, 2, 1), (1, 1, MAX_PROFILE + 1), (1, 1, -1)])
def test_pixels_that_do_not_fit_are_nonsense(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(NonsenseError):
        Decoded.decode(json.dumps({"decoded": numbers}).encode(), 12)


@given(MESSAGES)
def test_anything_else_is_nonsense_or_an_error_of_the_photo(value: object) -> None:
    message = json.dumps(value).encode()
    for decode in (Header.decode, lambda each: Decoded.decode(each, 1000)):
        with suppress(NonsenseError, SightlineError):
            decode(message)
