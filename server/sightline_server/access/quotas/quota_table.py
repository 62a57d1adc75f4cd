"""The table `quota` of a principal in the policy file.

    [principals.app.quota]
    calls_per_minute = 600
    bytes_per_minute = 200_000_000
    concurrent = 16
    share = 0.5
Rule: a burst that is left out is a minute's worth. An empty table has no bound.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sightline_server.access.quotas.quota import NO_QUOTA, Quota, Rate

Number = Annotated[int, Field(ge=1, le=1_000_000_000_000)]


class QuotaTable(BaseModel):
    """The bounds of one principal; a bound that is left out does not exist."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    calls_per_minute: Number | None = None
    calls_burst: Number | None = None
    bytes_per_minute: Number | None = None
    bytes_burst: Number | None = None
    concurrent: Number | None = None
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for burst, rate in (("calls_burst", "calls_per_minute"), ("bytes_burst", "bytes_per_minute")):
            if getattr(self, burst) is not None and getattr(self, rate) is None:
                raise ValueError(f"{burst} needs {rate}, at which it refills")
        return self

    @property
    def quota(self) -> Quota:
        """The bounds as a value; `NO_QUOTA` itself where there are none."""
        made = Quota(
            calls=rate_of(self.calls_per_minute, self.calls_burst),
            bytes=rate_of(self.bytes_per_minute, self.bytes_burst),
            concurrent=self.concurrent,
            share=self.share,
        )
        return made if made.kinds else NO_QUOTA


def rate_of(per_minute: int | None, burst: int | None) -> Rate | None:
    """The rate; None without one."""
    return None if per_minute is None else Rate(per_minute, per_minute if burst is None else burst)
