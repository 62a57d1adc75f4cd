"""The refusals of calls by their grants.

Rule: the message says how to get a grant that counts and never which check failed beyond its kind. `reason` is for the
audit. No text holds anything of the grant.
"""

from sightline_server.errors import ErrorKind, SightlineError

FIELD = "grant"


class GrantRefusedError(SightlineError):
    """The error of a call that its grant, or the lack of one, does not allow. `reason` is never sent to callers."""

    def __init__(self, kind: ErrorKind, message: str, reason: str, cause: str = "") -> None:
        super().__init__(kind, message, field=FIELD, metadata={"cause": cause} if cause else {})
        self.reason = reason


def missing() -> GrantRefusedError:
    """The refusal of a call without a grant on a catalog that requires one."""
    return GrantRefusedError(
        ErrorKind.GRANT_MISSING,
        "grant: this catalog needs a consent grant for each search: send one in the field grant, and as metadata "
        "sightline-grant",
        "no grant",
    )


def invalid(reason: str, cause: str = "INVALID") -> GrantRefusedError:
    """The refusal of a grant that is not valid on this server, for a `reason` that only the audit has."""
    message = "grant: the consent grant is not valid on this server: get one from the consent service of this catalog"
    return GrantRefusedError(ErrorKind.GRANT_INVALID, message, reason, cause)


def not_yet_valid() -> GrantRefusedError:
    """The refusal of a grant whose time has not begun."""
    return GrantRefusedError(
        ErrorKind.GRANT_INVALID,
        "grant: the consent grant is not valid yet: compare the clocks of the consent service and of this server",
        "the grant is not valid yet",
        "NOT_YET_VALID",
    )


def other_catalog() -> GrantRefusedError:
    """The refusal of a grant that names another catalog."""
    return GrantRefusedError(
        ErrorKind.GRANT_INVALID,
        "grant: the consent grant is for another catalog: get one for the catalog of the request",
        "the grant is for another catalog",
        "OTHER_CATALOG",
    )


def expired() -> GrantRefusedError:
    """The refusal of a grant whose time is over."""
    return GrantRefusedError(
        ErrorKind.GRANT_EXPIRED,
        "grant: the consent grant has expired: the person has to start the search again",
        "the grant has expired",
    )


def other_purpose() -> GrantRefusedError:
    """The refusal of a grant that was given for something else than a search."""
    return GrantRefusedError(
        ErrorKind.GRANT_PURPOSE,
        "grant: the consent grant is for another purpose than this method",
        "the grant is for another purpose",
    )


def other_photo() -> GrantRefusedError:
    """The refusal of a grant that was given for other bytes."""
    return GrantRefusedError(
        ErrorKind.GRANT_OTHER_PHOTO,
        "grant: the consent grant is for another photo: its claim pht is the SHA-256 of the bytes that are sent, or of "
        "the crops or vectors, each after its length",
        "the grant is for another photo",
    )


def replayed() -> GrantRefusedError:
    """The refusal of a grant that was used before."""
    return GrantRefusedError(
        ErrorKind.GRANT_REPLAYED,
        "grant: the consent grant has been used: each search needs a new one",
        "the grant has been used",
    )


def not_taken() -> SightlineError:
    """The error of a grant for a catalog whose searches need none: a check that is not made must not be assumed."""
    return SightlineError(
        ErrorKind.NOT_BUILT,
        "grant: this server checks no consent grants for this catalog; leave it empty",
        field=FIELD,
        metadata={"field": FIELD},
    )


def store_full() -> SightlineError:
    """The error of a grant whose use cannot be noted, because too many were used in a short time."""
    return SightlineError(
        ErrorKind.OVERLOADED,
        "too many consent grants were used in the last minutes",
        retry_after_s=5.0,
        metadata={"limit": "consent_store"},
    )


def store_unavailable() -> SightlineError:
    """The error of a grant whose use cannot be noted, because the store of used grants does not answer."""
    return SightlineError(
        ErrorKind.GRANT_STORE_UNAVAILABLE,
        "whether the consent grant has been used cannot be checked now; it has not been accepted",
        retry_after_s=2.0,
    )
