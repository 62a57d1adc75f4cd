"""Every failure of Triton has a cause, and every cause a kind."""

import pytest

from sightline_server.errors import ErrorKind
from sightline_server.triton.faults import KINDS, PUBLIC, Cause, EngineError, cause_of


def test_the_tables_are_total() -> None:
    assert set(KINDS) == set(Cause)
    assert set(KINDS.values()) == set(PUBLIC)


@pytest.mark.parametrize(
    ("status", "text", "cause"),
    [
        ("StatusCode.UNAVAILABLE", "failed to connect to all addresses; connection refused", Cause.GONE),
        ("StatusCode.UNAVAILABLE", "Socket closed", Cause.GONE),
        ("StatusCode.UNAVAILABLE", "Server is stopping, scheduler has stopped accepting", Cause.GONE),
        ("StatusCode.UNAVAILABLE", "Request timeout expired", Cause.EXPIRED),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", Cause.FROZEN),
        ("StatusCode.INTERNAL", "Stub process 'embedder_0_0' is not healthy.", Cause.GIVEN_UP),
        ("StatusCode.INTERNAL", "Failed to obtain the health mutex.", Cause.GIVEN_UP),
        ("StatusCode.INTERNAL", "some words nobody has seen yet", Cause.MODEL_DOWN),
        ("StatusCode.NOT_FOUND", "Request for unknown model: 'x' has no available versions", Cause.MODEL_DOWN),
        ("StatusCode.UNAVAILABLE", "Request for unknown model: 'x' version 1 is not ready", Cause.MODEL_DOWN),
        ("StatusCode.NOT_FOUND", "Unable to find shared memory region: 'sightline-1-2-c0'", Cause.REGION_LOST),
        ("StatusCode.INVALID_ARGUMENT", "batch-size must be <= 16 for 'detector'", Cause.REFUSED),
        ("StatusCode.INTERNAL", "ONNX Runtime failed: InvalidArgument", Cause.REFUSED),
        ("StatusCode.INTERNAL", "onnx runtime error 6: Non-zero status code", Cause.REFUSED),
        ("StatusCode.CANCELLED", "CANCELLED", Cause.GONE),
        ("StatusCode.UNKNOWN", "", Cause.GONE),
        ("None", "None", Cause.GONE),
    ],
)
def test_known_failures(status: str, text: str, cause: Cause) -> None:
    assert cause_of(status, text) is cause


@pytest.mark.parametrize("cause", list(Cause))
def test_callers_get_public_words_and_a_time_to_retry_when_the_engine_is_down(cause: Cause) -> None:
    error = EngineError(cause, "words of Triton's own")
    assert "Triton" not in error.message
    assert (error.retry_after_s is not None) == (error.kind is ErrorKind.ENGINE_UNAVAILABLE)


def test_memory_is_free_only_after_an_end_that_triton_reported() -> None:
    assert {cause for cause in Cause if not EngineError(cause, "").ended} == {
        Cause.GONE,
        Cause.FROZEN,
        Cause.GIVEN_UP,
        Cause.CUT_SHORT,
    }
