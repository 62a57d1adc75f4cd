"""The errors of requests whose fields cannot be used; each names its field."""

from sightline_server.errors import ErrorKind, SightlineError


def invalid(field: str, message: str) -> SightlineError:
    """The error of a request whose `field` is off."""
    return SightlineError(ErrorKind.INVALID_REQUEST, f"{field}: {message}", field=field)


def not_built(field: str) -> SightlineError:
    """The error of a request that asks for what is not there yet."""
    return SightlineError(
        ErrorKind.NOT_BUILT, f"{field} is not built yet; leave it empty", field=field, metadata={"field": field}
    )
