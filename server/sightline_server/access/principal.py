"""Callers, and what a call shows about the one that makes it.

Rule: this runs first, before a byte of the request is read. A header may be a credential: none is kept, logged or part
of an error.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError

Headers = Iterable[tuple[str, str | bytes]]
"""The metadata of a call: pairs of key and value."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, by the name that the policy and the audit use."""

    name: str


ANONYMOUS = Principal("anonymous")
"""Every caller of a server that has no identities, and a caller without a credential where the policy allows it."""


def no_certificate() -> frozenset[str]:
    """The names in the certificate of a connection that has none."""
    return frozenset()


def no_peer() -> str:
    """The peer of a call whose connection is not known."""
    return ""


@dataclass(frozen=True, slots=True)
class Presented:
    """The evidence about a caller: the headers of its call, and the names in the certificate of its connection.

    The certificate was verified. Its names are the subject alternative names, each as `dns:NAME`, `uri:URI`,
    `email:ADDRESS` or `ip:ADDRESS`.
    """

    headers: Headers
    certificate_names: Callable[[], frozenset[str]] = no_certificate
    peer: Callable[[], str] = no_peer
    """The name of the connection: kind, address and port."""


Identify = Callable[[Presented], Principal]
"""Determines the caller. Raises `UnidentifiedError`."""


def anonymous(presented: Presented) -> Principal:
    """Takes every caller for `ANONYMOUS` and reads nothing."""
    return ANONYMOUS


@dataclass(frozen=True, slots=True)
class Caller:
    """A call whose principal is known: `service` is the full name, `method` the name in it."""

    principal: Principal
    service: str
    method: str
    request_id: str


class Cause(Enum):
    """The message of a refusal for its caller: how to get a valid credential, and not which check failed."""

    MISSING = "the call has no credential: send `authorization: Bearer` with a token or an API key"
    EXPIRED = "the credential has expired: get a new one"
    NOT_YET_VALID = "the credential is not valid yet: compare the clocks of the issuer and of this server"
    INVALID = "the credential is not valid on this server"


class UnidentifiedError(SightlineError):
    """The error of a call whose caller could not be identified. `reason` is for the audit and never sent to callers."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(ErrorKind.UNAUTHENTICATED, cause.value, metadata={"cause": cause.name})
        self.reason = reason


def invalid(reason: str) -> UnidentifiedError:
    """The error of a credential that is not valid, for a `reason` that only the audit has."""
    return UnidentifiedError(Cause.INVALID, reason)
