"""Callers, and how a call's headers say which one it is.

Rule: this runs first, before a byte of the request is read. A header may be a credential: none is kept or logged.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

Headers = Iterable[tuple[str, str | bytes]]
"""The metadata of a call: pairs of key and value."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, by the name that the policy and the audit use."""

    name: str


ANONYMOUS = Principal("anonymous")
"""Every caller of a server that has no identities."""

Identify = Callable[[Headers], Principal]
"""Reads the caller from the headers. Raises `SightlineError` of kind UNAUTHENTICATED."""


def anonymous(headers: Headers) -> Principal:
    """Takes every caller for `ANONYMOUS` and does not read the headers."""
    return ANONYMOUS


@dataclass(frozen=True, slots=True)
class Caller:
    """A call whose principal is known: `service` is the full name, `method` the name in it."""

    principal: Principal
    service: str
    method: str
    request_id: str
