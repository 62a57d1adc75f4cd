"""The limits on requests."""

from typing import Self

from pydantic import model_validator

from sightline_server.settings.part import Part, Positive, Seconds

REQUEST_ALLOWANCE = 1024 * 1024
"""Bytes that a request may hold in addition to the photo."""


class LimitSettings(Part):
    """What one request, and all of them together, may ask for."""

    max_photo_bytes: Positive = 20 * 1024 * 1024
    """Largest encoded photo."""
    max_photo_pixels: Positive = 64_000_000
    """Largest photo by its header, before anything is decoded."""
    max_regions: Positive = 16
    """Boxes and taps of one request."""
    default_objects: Positive = 8
    """Objects searched when the request says 0."""
    max_objects: Positive = 16
    """Objects that a request may ask for."""
    default_products: Positive = 10
    """Products per object when the request says 0."""
    max_products: Positive = 100
    """Products per object that a request may ask for."""
    max_concurrent_calls: Positive = 64
    """Ceiling of the adaptive limit on calls inside; it bounds the memory that photos may take."""
    max_open_calls: Positive = 1024
    """Searches open at once, those included whose photo is still on its way; more are refused before it is read."""
    max_connection_calls: Positive = 128
    """Searches open at once on one connection. A proxy in front of the server needs more than one caller does."""
    request_budget_bytes: Positive = 2 * 1024**3
    """Memory of all requests together. Before a request is read, room for the largest one is reserved; what it really
    takes replaces that once it is there."""
    min_upload_rate: Positive = 1024 * 1024
    """Lowest rate of an upload, in bytes a second: a request may take as long to arrive as the largest one at this
    rate. While others wait for its memory, one that takes ten times as long as others is refused."""
    target_first_result_s: Seconds = 1.0
    """The time to the first result that the adaptive limit keeps to; beyond it calls are refused, not queued."""
    default_deadline_s: Seconds = 10.0
    """For callers who set none."""
    max_deadline_s: Seconds = 30.0
    """Longer deadlines are shortened to it."""

    @property
    def largest_request(self) -> int:
        """Bytes of the largest request."""
        return self.max_photo_bytes + REQUEST_ALLOWANCE

    @model_validator(mode="after")
    def _defaults_within_caps(self) -> Self:
        if self.default_objects > self.max_objects or self.default_products > self.max_products:
            raise ValueError("a default is above its cap")
        if self.request_budget_bytes < self.largest_request:
            raise ValueError(
                f"request_budget_bytes is {self.request_budget_bytes}, but one request may have {self.largest_request} "
                "bytes: raise it, or lower max_photo_bytes"
            )
        return self
