"""The refusal of a call that does not fit into a limit."""

from sightline_server.errors import ErrorKind, SightlineError


def overloaded(limit: str, message: str) -> SightlineError:
    """The error of a call that does not fit into `limit`, which metrics and `ErrorInfo` name."""
    return SightlineError(ErrorKind.OVERLOADED, message, retry_after_s=1.0, metadata={"limit": limit})
