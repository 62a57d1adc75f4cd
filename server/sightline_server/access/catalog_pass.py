"""The pass to a catalog: the proof that a call on it was authorised.

Rule: it cannot be made or changed outside of `access/`, because that takes the seal. Whatever opens a catalog for a
call asks for one, so the check cannot be forgotten.
"""

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field

from sightline_server.access.seal import SEAL, Seal
from sightline_server.domain.request import Lane

EVERY_CATALOG = "*"
"""The catalog of a pass for a call about the server as a whole. No catalog has this name, so none is opened by it."""


def none(catalog: str) -> bool:
    """Shows no catalog."""
    return False


@dataclass(frozen=True, slots=True)
class CatalogPass:
    """Permission to use `catalog` in `lane`; the server may not have a catalog of that name.

    `shows` says which catalogs a call about `EVERY_CATALOG` may list.
    """

    seal: InitVar[Seal]
    catalog: str
    lane: Lane
    shows: Callable[[str], bool] = field(default=none, repr=False, compare=False)

    def __post_init__(self, seal: Seal) -> None:
        """Raises `TypeError` without the seal."""
        if seal is not SEAL:
            raise TypeError("only an access check makes a pass")
