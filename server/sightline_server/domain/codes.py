"""The codes in a photo that name a product.

Rule: what a code says may be personal. Only the GTIN of a code is kept, for the length of its call, and no text form
of these values shows it.
"""

from dataclasses import dataclass, field

from sightline_server.domain.geometry import Box


@dataclass(frozen=True, slots=True)
class PhotoCode:
    """A barcode or QR code in a photo: where it is, and its GTIN (`domain.gtin`)."""

    box: Box
    gtin: int = field(repr=False)
