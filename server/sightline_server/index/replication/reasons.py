"""The reasons for which a replica keeps the revision that it has."""

from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError


class Reason(Enum):
    """The reason as a label of metrics; each has its remedy in docs/operate/replicas.md."""

    AWAY = "source_away"
    """The source cannot be read, or nothing was published to it."""
    INCOMPLETE = "incomplete"
    """A file is missing or shorter than it should be: it is still being copied there."""
    DAMAGED = "damaged"
    """A file, or the content as a whole, has another digest than the one that was published."""
    FORMAT = "format"
    """It was published by another version of Sightline."""
    OLDER = "older"
    """It is older than the revision that the replica has."""
    EMBEDDER = "embedder"
    """The server does not serve the embedder that made it."""
    DISK = "disk"
    """The replica's own disk is full or cannot be written."""
    RELOAD = "reload"
    """It is on the replica's disk and could not be opened."""
    OTHER = "other"
    """Another error; the log says which."""


class NotFollowedError(SightlineError):
    """A published revision that a replica does not take; the one that it has stays as it is."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(ErrorKind.INDEX_UNAVAILABLE, message)
        self.reason = reason
