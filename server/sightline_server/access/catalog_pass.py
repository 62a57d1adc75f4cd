"""The pass to a catalog: the proof that a call on it was authorised.

Rule: it cannot be made or changed outside of `access/`, because that takes the seal. Whatever opens a catalog for a
call asks for one, so the check cannot be forgotten.
"""

from dataclasses import InitVar, dataclass

from sightline_server.access.seal import SEAL, Seal
from sightline_server.domain.request import Lane


@dataclass(frozen=True, slots=True)
class CatalogPass:
    """Permission to use `catalog` in `lane`; the server may not have a catalog of that name."""

    seal: InitVar[Seal]
    catalog: str
    lane: Lane

    def __post_init__(self, seal: Seal) -> None:
        """Raises `TypeError` without the seal."""
        if seal is not SEAL:
            raise TypeError("only an access check makes a pass")
