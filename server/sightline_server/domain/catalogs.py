"""The catalogs that a server has: which names callers may give, which one an empty name means, what each can do."""

import re
from dataclasses import dataclass
from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError

DEFAULT_CATALOG = "default"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""The form of a name, which becomes a label of metrics and a part of command lines."""


class Capability(Enum):
    """Something that the index of a catalog can do."""

    EXACT = "exact"
    """It compares every vector."""
    ITEM_GROUPS = "item_groups"
    """It fills an answer with item groups."""


@dataclass(frozen=True, slots=True)
class CatalogNames:
    """The configured names, in order; `default` is one of them."""

    names: tuple[str, ...] = (DEFAULT_CATALOG,)
    default: str = DEFAULT_CATALOG

    def named(self, wanted: str) -> str:
        """The name that a request means by `wanted`: the default if that is empty. It may not be configured."""
        return wanted or self.default

    def check(self, name: str) -> None:
        """Raises `SightlineError` of kind UNKNOWN_CATALOG for a name that is not configured."""
        if name not in self.names:
            raise unknown_catalog()


def unknown_catalog() -> SightlineError:
    """The error of a request for a catalog that the server does not have.

    It neither lists those that it has nor repeats the name: no error carries bytes of a request.
    """
    return SightlineError(
        ErrorKind.UNKNOWN_CATALOG,
        "catalog: there is no such catalog; name one that this server has, or leave the field empty",
        field="catalog",
    )
