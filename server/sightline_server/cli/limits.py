"""The limits of the operating system that a server needs at its start."""

import resource

from sightline_server.errors import ErrorKind, SightlineError

LEAST_DESCRIPTORS = 64
"""A server at rest has about 25 descriptors open; each connection takes one more."""


def check_descriptors() -> None:
    """Raises `SightlineError` of kind CONFIGURATION when too few files may be open at once."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < LEAST_DESCRIPTORS:
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"only {allowed} file descriptors are allowed; {LEAST_DESCRIPTORS} are the least, and each connection "
            "takes one: raise `ulimit -n` (systemd: LimitNOFILE)",
        )
