"""The settings of the catalogs that are served."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sightline_server.domain.catalogs import DEFAULT_CATALOG, NAME
from sightline_server.settings.part import Part

CatalogName = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]


class CatalogSettings(Part):
    """One catalog to search; `[catalogs.NAME]` adds more."""

    path: Path | None = None
    """The catalog made by `sightline catalog build`."""
    name: str = DEFAULT_CATALOG
    """The name by which requests select it."""


class IndexSettings(Part):
    """The indexes of all catalogs that are served."""

    recall_every_s: Annotated[float, Field(ge=0, le=600)] = 60.0
    """Seconds between two measurements of each catalog's live recall, at most 600; 0 measures nothing."""


class ServedCatalogSettings(Part):
    """One catalog to search, under the name by which requests select it."""

    path: Path
    """The catalog made by `sightline catalog build`."""
