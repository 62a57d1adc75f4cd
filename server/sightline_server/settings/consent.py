"""The settings of consent grants: which catalogs need them, who issues them, and where their use is noted."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sightline_server.settings.part import Part

Consent = Literal["off", "optional", "required"]
GrantStore = Literal["process", "host", "valkey"]
STRICTEST_LAST: tuple[Consent, ...] = ("off", "optional", "required")


def strictest(*modes: Consent | None) -> Consent | None:
    """The strictest of those that are set; None where none is."""
    return max((mode for mode in modes if mode is not None), key=STRICTEST_LAST.index, default=None)


class ConsentSettings(Part):
    """Proof that a person started each search; see docs/guide/consent.md. The file is read again on a change."""

    mode: Consent = "off"
    """Consent that a search needs where its catalog has no setting `consent`: `off` takes no grants, `optional` checks
    those that are sent, `required` refuses searches without one."""
    jwks_file: Path | None = None
    """JWKS file with the public keys of the consent service. Needs `issuer`, `audience` and the extra
    `sightline[jwt]`."""
    issuer: str = ""
    """The `iss` claim that a grant must have."""
    audience: str = ""
    """The `aud` claim that a grant must have, alone or in a list."""
    leeway_s: Annotated[int, Field(ge=0, le=60)] = 10
    """Seconds by which the clocks of the consent service and of this server may differ."""
    longest_s: Annotated[int, Field(gt=0, le=120)] = 120
    """Longest life of a grant in seconds, from `iat` to `exp`; at most 120."""
    store: GrantStore | None = None
    """Place where the use of a grant is noted, so that it works once: in this `process`, on this `host` for all
    workers, or in `valkey` for all replicas (group `valkey`). If unset, `host` with workers or a `store_folder`, else
    `process`."""
    store_size: Annotated[int, Field(gt=0, le=10_000_000)] = 100_000
    """Largest number of used grants that `process` and `host` keep, each for about `longest_s`. Above, searches with a
    grant are refused."""
    store_folder: Path | None = None
    """Private folder of the store `host`, which several servers on this machine may share. If unset, each server has
    its own, which ends with it."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.jwks_file is not None and not (self.issuer and self.audience):
            raise ValueError("jwks_file needs issuer and audience: grants for other servers must not count here")
        if self.store_folder is not None and self.store in ("process", "valkey"):
            raise ValueError("store_folder is for the store host; leave it out, or set store = 'host'")
        return self
