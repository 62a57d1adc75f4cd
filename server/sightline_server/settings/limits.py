"""The limits on requests."""

from typing import Self

from pydantic import model_validator

from sightline_server.settings.part import Part, Positive, Seconds

REQUEST_ALLOWANCE = 1024 * 1024
"""Bytes that a request may hold in addition to the photo."""


class LimitSettings(Part):
    """Limits on one request and on all requests together."""

    max_photo_bytes: Positive = 20 * 1024 * 1024
    """Largest encoded photo in bytes."""
    max_photo_pixels: Positive = 64_000_000
    """Largest photo in pixels, checked in its header before anything is decoded."""
    max_regions: Positive = 16
    """Largest number of boxes and taps in one request, and of crops or embeddings in place of a photo."""
    default_objects: Positive = 16
    """Objects searched when the request has 0. A lower `max_objects` lowers it as well, unless it is set."""
    max_objects: Positive = 16
    """Largest number of objects that a request may ask for."""
    default_products: Positive = 10
    """Products per object when the request has 0."""
    max_products: Positive = 100
    """Largest number of products per object that a request may ask for."""
    max_concurrent_calls: Positive = 64
    """Ceiling of the adaptive limit on admitted calls; it bounds the memory that photos may take."""
    max_open_calls: Positive = 1024
    """Searches open at once, including those whose photo is still being received; more are refused before their photo
    is read."""
    max_connection_calls: Positive = 128
    """Searches open at once on one connection. A proxy in front of the server needs a higher limit
    than a single client."""
    request_budget_bytes: Positive = 2 * 1024**3
    """Memory of all requests together, in bytes. Before a request is read, room for the largest one is reserved; once
    it has arrived, its real size replaces that."""
    min_upload_rate: Positive = 1024 * 1024
    """Lowest rate of an upload, in bytes a second: a request may take as long to arrive as the largest one at this
    rate. While others wait for its memory, one that takes ten times as long as others is refused."""
    target_first_result_s: Seconds = 1.0
    """Time to the first result that the adaptive limit aims for; calls that would exceed it are refused, not queued."""
    default_deadline_s: Seconds = 10.0
    """Deadline of calls that set none."""
    max_deadline_s: Seconds = 30.0
    """Longest deadline; longer ones are shortened to it."""

    @property
    def largest_request(self) -> int:
        """Bytes of the largest request."""
        return self.max_photo_bytes + REQUEST_ALLOWANCE

    @model_validator(mode="after")
    def _defaults_within_caps(self) -> Self:
        if "default_objects" not in self.model_fields_set:
            # Nothing has this value yet, and a configuration that only lowers the cap is to stay valid.
            object.__setattr__(self, "default_objects", min(self.default_objects, self.max_objects))
        for name in ("objects", "products"):
            default, highest = getattr(self, f"default_{name}"), getattr(self, f"max_{name}")
            if default > highest:
                raise ValueError(
                    f"default_{name} is {default}, above max_{name} ({highest}): lower it, or raise max_{name}"
                )
        if self.request_budget_bytes < self.largest_request:
            raise ValueError(
                f"request_budget_bytes is {self.request_budget_bytes}, but one request may have {self.largest_request} "
                "bytes: raise it, or lower max_photo_bytes"
            )
        return self
