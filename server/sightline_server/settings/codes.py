"""The settings of barcodes and QR codes in photos."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Part


class CodeSettings(Part):
    """Reading of barcodes and QR codes whose GTIN the catalog may hold."""

    enabled: bool = True
    """Reads EAN-13, UPC-A, EAN-8, ITF-14 and QR codes of photos, in searches of catalogs that have products with a
    `gtin`."""
    max_pixels: Annotated[int, Field(ge=100_000, le=16_000_000)] = 2_000_000
    """Pixels in which codes are looked for; a larger photo is reduced to them. The time grows with them, about 3 ms of
    CPU a million."""
    min_time_left_s: Annotated[float, Field(ge=0)] = 0.5
    """A call whose deadline is nearer than this when its photo has been decoded is answered without its codes, and
    `Done.skipped` says so."""
