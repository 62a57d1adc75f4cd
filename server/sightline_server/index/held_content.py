"""The content of a catalog that this process holds already, of which a base can be built without its files."""

from collections.abc import Callable
from dataclasses import dataclass

from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.vectors import UnitRows


def without_pause() -> None:
    """The pause of work that no search has to wait for."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldContent:
    """A catalog whose own vectors are left out, and its `vectors`.

    `pause` is for calls before each part of the work on it, so that searches may go first.
    """

    catalog: Catalog
    vectors: UnitRows
    pause: Callable[[], None]
