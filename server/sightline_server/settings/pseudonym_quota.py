"""The settings of the quota of a person, whom a grant names by a pseudonym."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from sightline_server.settings.part import Part, Positive

MINUTES_OF_A_KEY = 60


class PseudonymQuotaSettings(Part):
    """Photos of one person, counted by the pseudonym in the claim `rate` of consent grants; docs/guide/consent.md."""

    photos_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    """Photos a minute of each pseudonym, counted once for all workers; 0 counts none."""
    burst: Positive | None = None
    """Photos that may come at once after a pause; at most what refills in an hour. If unset, a minute's worth."""

    @property
    def at_once(self) -> int:
        """The burst."""
        return self.photos_per_minute if self.burst is None else self.burst

    @model_validator(mode="after")
    def _fits_an_hour(self) -> Self:
        if self.photos_per_minute and self.at_once > self.photos_per_minute * MINUTES_OF_A_KEY:
            raise ValueError("burst must refill within an hour: set at most 60 times photos_per_minute")
        return self
