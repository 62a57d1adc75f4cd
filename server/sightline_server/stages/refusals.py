"""The errors of photos that are not decoded.

Rule: messages name formats and limits, never a byte of the photo. The metadata of an INVALID_IMAGE error holds the
photo's `format` where it is known, so that an app can convert and send it again.
"""

from sightline_server.errors import ErrorKind, SightlineError


def invalid(message: str, photo_format: str = "") -> SightlineError:
    """The error of a photo that cannot be decoded; `photo_format` is the lower-case name of its format, if known."""
    metadata = {"format": photo_format} if photo_format else {}
    return SightlineError(ErrorKind.INVALID_IMAGE, message, field="photo", metadata=metadata)


def truncated(photo_format: str) -> SightlineError:
    """The error of a photo that ends before its last pixel."""
    return invalid("the photo is truncated: its file ends before the last pixel; send the whole file", photo_format)


def corrupt(photo_format: str) -> SightlineError:
    """The error of a photo whose format is supported but whose contents cannot be decoded."""
    return invalid(f"the photo is {photo_format.upper()}, but it is truncated or corrupt", photo_format)


def too_large(quantity: str, value: int, limit: int, photo_format: str = "") -> SightlineError:
    """The error of a photo with a larger `quantity` (bytes, pixels or edge) than allowed.

    With `photo_format` the limit is that of a kind of this format which takes more memory or time than usual.
    """
    kind = f" for {photo_format.upper()} of its kind" if photo_format else ""
    subject = f"an edge of {value} pixels" if quantity == "edge" else f"{value} {quantity}"
    return SightlineError(
        ErrorKind.LIMIT_EXCEEDED,
        f"the photo has {subject}, the limit is {limit}{kind}",
        field="photo",
        metadata={"limit": f"max_photo_{quantity}", "value": str(limit)},
    )


def too_much_memory() -> SightlineError:
    """The error of a photo whose pixels do not fit into memory."""
    return SightlineError(ErrorKind.LIMIT_EXCEEDED, "the photo needs too much memory", field="photo")


def too_slow(seconds: int) -> SightlineError:
    """The error of a photo that takes more than `seconds` to decode."""
    return SightlineError(
        ErrorKind.LIMIT_EXCEEDED,
        f"the photo takes too long to decode, the limit is {seconds} s",
        field="photo",
        metadata={"limit": "max_decode_seconds", "value": str(seconds)},
    )


def too_expensive() -> SightlineError:
    """The error of a photo whose decoding was ended from outside: by the kernel, where memory ran out."""
    message = "the photo takes too much memory or time to decode"
    return SightlineError(ErrorKind.LIMIT_EXCEEDED, message, field="photo")
