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
    FILTERS = "filters"
    """It returns only products that match a filter."""


@dataclass(slots=True)
class CatalogNames:
    """The names of a server's catalogs, in order; `default` is one of them.

    A server has one such object, which its listeners share. Only `add` and `remove` change it, on the event loop; each
    of them replaces `names`, so that a reader has one consistent tuple.
    """

    names: tuple[str, ...] = (DEFAULT_CATALOG,)
    default: str = DEFAULT_CATALOG

    def named(self, wanted: str) -> str:
        """The name that a request means by `wanted`: the default if that is empty. There may be no such catalog."""
        return wanted or self.default

    def check(self, name: str) -> None:
        """Raises `SightlineError` of kind UNKNOWN_CATALOG for a name that the server does not have."""
        if name not in self.names:
            raise unknown_catalog()

    def add(self, name: str) -> None:
        """Adds the name of a catalog that is served from now on."""
        if name not in self.names:
            self.names = (*self.names, name)

    def remove(self, name: str) -> None:
        """Removes a name; not for the default one."""
        self.names = tuple(each for each in self.names if each != name)


def check_capabilities(capabilities: frozenset[Capability], *, filtered: bool, by_group: bool) -> None:
    """Refuses a search that needs more than the index of its catalog can do, `capabilities`.

    Raises `SightlineError` of kind FILTER_UNSUPPORTED or GROUPS_UNSUPPORTED.
    """
    if filtered and Capability.FILTERS not in capabilities:
        message = "filter: the index of this catalog cannot filter; send the request without a filter"
        raise SightlineError(ErrorKind.FILTER_UNSUPPORTED, message, field="filter")
    if by_group and Capability.ITEM_GROUPS not in capabilities:
        message = "one_per_group: the index of this catalog has no item groups; send the request with it set to false"
        raise SightlineError(ErrorKind.GROUPS_UNSUPPORTED, message, field="one_per_group")


def unknown_catalog() -> SightlineError:
    """The error of a request for a catalog that the server does not have.

    It neither lists those that it has nor repeats the name: no error carries bytes of a request.
    """
    return SightlineError(
        ErrorKind.UNKNOWN_CATALOG,
        "catalog: there is no such catalog; name one that this server has, or leave the field empty",
        field="catalog",
    )
