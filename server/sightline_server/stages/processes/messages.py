"""The conversation between the server and a decode process, for one photo:

    server: Order (and the photo's file)   process: Header  or Refusal
    server: GO    (and a file for pixels)  process: Decoded or Refusal

Rule: a decode process may have been taken over by a photo, so the server checks all of its messages. A message is one
JSON object in one packet of at most `MAX_MESSAGE` bytes.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.colours import MAX_PROFILE
from sightline_server.stages.decode import MAX_EDGE, DecodeLimits

MAX_MESSAGE = 1 << 14
READY = b"ready"
"""The message of a process that is ready to decode."""
GO = b"go"
REFUSALS = (ErrorKind.INVALID_IMAGE.name, ErrorKind.LIMIT_EXCEEDED.name)
"""Kinds of errors that a photo can have."""
BYTES_PER_PIXEL = 3


class NonsenseError(Exception):
    """A decode process sent an invalid message."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order to decode a photo within limits; the file with the photo is sent along."""

    limits: DecodeLimits

    def encode(self) -> bytes:
        """The message."""
        return json.dumps(asdict(self.limits)).encode()

    @classmethod
    def decode(cls, message: bytes) -> "Order":
        """The order of a message."""
        values = json.loads(message)
        return cls(DecodeLimits(**{**values, "formats": tuple(values["formats"])}))


@dataclass(frozen=True, slots=True)
class Header:
    """The values of a photo's header, within the limits; `weight` is `Prepared.weight`, bytes of memory."""

    width: int
    height: int
    weight: int

    def encode(self) -> bytes:
        """The message."""
        return json.dumps({"header": [self.width, self.height, self.weight]}).encode()

    @classmethod
    def decode(cls, message: bytes) -> "Header":
        """The header of a message. Raises `SightlineError` for a refusal, and `NonsenseError`."""
        width, height, weight = numbers(answer(message), "header")
        if not (0 < width <= MAX_EDGE and 0 < height <= MAX_EDGE and weight > 0):
            raise NonsenseError
        return cls(width, height, weight)

    def room(self, limits: DecodeLimits) -> int:
        """Bytes that the decoded photo takes at most, its profile included."""
        return BYTES_PER_PIXEL * min(self.width * self.height, limits.max_edge**2) + MAX_PROFILE


@dataclass(frozen=True, slots=True)
class Decoded:
    """The size of the pixels uint8 [height, width, 3] in the file, and the bytes of the ICC profile behind them."""

    width: int
    height: int
    profile: int

    @property
    def pixels(self) -> int:
        """Bytes of the pixels."""
        return BYTES_PER_PIXEL * self.width * self.height

    def encode(self) -> bytes:
        """The message."""
        return json.dumps({"decoded": [self.width, self.height, self.profile]}).encode()

    @classmethod
    def decode(cls, message: bytes, room: int) -> "Decoded":
        """The outcome of a message, which fits into `room` bytes. Raises `SightlineError` and `NonsenseError`."""
        decoded = cls(*numbers(answer(message), "decoded"))
        if decoded.width < 1 or decoded.height < 1 or not 0 <= decoded.profile <= MAX_PROFILE:
            raise NonsenseError
        if decoded.pixels + decoded.profile > room:
            raise NonsenseError
        return decoded


def refusal(error: SightlineError) -> bytes:
    """The message of a photo that cannot be decoded."""
    return json.dumps({"refused": [error.kind.name, error.message, dict(error.metadata)]}).encode()


def answer(message: bytes) -> dict[str, Any]:
    """The values of a process's message. Raises `SightlineError` for a refusal, and `NonsenseError`."""
    try:
        values = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise NonsenseError from error
    if not isinstance(values, dict):
        raise NonsenseError
    if "refused" in values:
        raise refused(values["refused"])
    return values


def refused(parts: Any) -> SightlineError:
    """The error of a photo. Raises `NonsenseError` for an error that a photo cannot have."""
    match parts:
        case [str(kind), str(text), dict(metadata)] if kind in REFUSALS:
            public = {str(name): str(value) for name, value in metadata.items()}
            return SightlineError(ErrorKind[kind], text, field="photo", metadata=public)
    raise NonsenseError


def numbers(values: dict[str, Any], name: str) -> tuple[int, int, int]:
    """The three whole numbers called `name`. Raises `NonsenseError`."""
    found = values.get(name)
    if not isinstance(found, list) or len(found) != 3 or any(type(each) is not int for each in found):
        raise NonsenseError
    first, second, third = found
    return first, second, third
