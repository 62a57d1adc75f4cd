"""The meaning of Triton's failures. Rule: total; every status and text becomes one `EngineError`."""

from enum import Enum, auto

from sightline_server.errors import ErrorKind, SightlineError

RETRY_AFTER_S = 2.0
"""Approximate time of reloading a model."""

PUBLIC = {
    ErrorKind.ENGINE_UNAVAILABLE: "the model engine is not available",
    ErrorKind.DEADLINE_EXCEEDED: "the deadline passed before the model engine answered",
    ErrorKind.INTERNAL: "the model engine could not run the model",
}


class Cause(Enum):
    """The cause of a failed call to the engine."""

    GONE = auto()
    """No engine, a broken connection, or one that was closed while the call ran."""
    FROZEN = auto()
    """No answer within the bound on any call."""
    MODEL_DOWN = auto()
    """Triton lives, but the model is not loaded or not healthy."""
    GIVEN_UP = auto()
    """Triton marked the model's stub as unhealthy, dead or alive; a living one may answer other calls (engine.md)."""
    REGION_LOST = auto()
    """Triton does not know the shared memory region: it was restarted."""
    CUT_SHORT = auto()
    """The answer lacks an output of the model: its stub, or Triton itself, broke down while it answered."""
    EXPIRED = auto()
    """The request's time was over before it ran."""
    REFUSED = auto()
    """Triton or the model did not accept the request or failed to run it."""


KINDS = {
    Cause.GONE: ErrorKind.ENGINE_UNAVAILABLE,
    Cause.FROZEN: ErrorKind.ENGINE_UNAVAILABLE,
    Cause.MODEL_DOWN: ErrorKind.ENGINE_UNAVAILABLE,
    Cause.GIVEN_UP: ErrorKind.ENGINE_UNAVAILABLE,
    Cause.REGION_LOST: ErrorKind.ENGINE_UNAVAILABLE,
    Cause.CUT_SHORT: ErrorKind.ENGINE_UNAVAILABLE,
    Cause.EXPIRED: ErrorKind.DEADLINE_EXCEEDED,
    Cause.REFUSED: ErrorKind.INTERNAL,
}


class EngineError(SightlineError):
    """A failed call to the engine: kind and public message for the caller, cause and Triton's text for the watch."""

    def __init__(self, cause: Cause, detail: str) -> None:
        """`detail` is Triton's text; it is for the log only."""
        kind = KINDS[cause]
        retry = RETRY_AFTER_S if kind is ErrorKind.ENGINE_UNAVAILABLE else None
        super().__init__(kind, PUBLIC[kind], retry_after_s=retry)
        self.cause = cause
        self.detail = detail

    @property
    def ended(self) -> bool:
        """True if Triton itself reported the end of the call, so that it no longer reads the call's memory."""
        return self.cause in (Cause.MODEL_DOWN, Cause.REGION_LOST, Cause.EXPIRED, Cause.REFUSED)


def cause_of(status: str, text: str) -> Cause:
    """The cause behind a gRPC status such as `StatusCode.INTERNAL` and Triton's text.

    The texts are those of tritonserver 2.51; one that is not known counts as the engine's fault, never as the caller's.
    """
    code = status.rpartition(".")[2]
    said = text.lower()
    if "timeout expired" in said:
        return Cause.EXPIRED
    if code == "DEADLINE_EXCEEDED":
        return Cause.FROZEN
    if "shared memory" in said and ("unable to find" in said or "not registered" in said):
        return Cause.REGION_LOST
    if "not healthy" in said or "health mutex" in said:
        return Cause.GIVEN_UP
    if code == "NOT_FOUND" or "not ready" in said or "unknown model" in said:
        return Cause.MODEL_DOWN
    if code == "INVALID_ARGUMENT" or (code == "INTERNAL" and "onnx" in said):
        return Cause.REFUSED
    return Cause.MODEL_DOWN if code == "INTERNAL" else Cause.GONE
