"""The settings of the catalogs that are served."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sightline_server.domain.catalogs import DEFAULT_CATALOG, NAME
from sightline_server.settings.consent import Consent
from sightline_server.settings.part import Part

CatalogName = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]


class CatalogSettings(Part):
    """One catalog to search; `[catalogs.NAME]` adds more."""

    path: Path | None = None
    """The catalog made by `sightline catalog build`."""
    name: str = DEFAULT_CATALOG
    """The name by which requests select it."""
    consent: Consent | None = None
    """Consent that a search of it needs: `off`, `optional` or `required`. If unset, that of `consent.mode`."""
    local_features: bool | None = None
    """Compares local features in searches of it, where it keeps them. If unset, `local_features.enabled`."""


class IndexSettings(Part):
    """The indexes of all catalogs that are served."""

    recall_every_s: Annotated[float, Field(ge=0, le=600)] = 60.0
    """Seconds between two measurements of each catalog's live recall, at most 600; 0 measures nothing."""
    exact_mib: Annotated[int, Field(ge=0, le=1 << 24)] = 512
    """MiB of vectors, 4 bytes a number, up to which a catalog is searched exactly, also when another index was chosen
    for it. Above, the index is the one that `sightline catalog index` has chosen, or exact search where it has chosen
    none."""
    build_limit_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Longest time of building one index that is tried when one is chosen; slower ones are left out."""


class ServedCatalogSettings(Part):
    """One catalog to search, under the name by which requests select it."""

    path: Path
    """The catalog made by `sightline catalog build`."""
    consent: Consent | None = None
    """Consent that a search of it needs: `off`, `optional` or `required`. If unset, that of `consent.mode`."""
    local_features: bool | None = None
    """Compares local features in searches of it, where it keeps them. If unset, `local_features.enabled`."""
