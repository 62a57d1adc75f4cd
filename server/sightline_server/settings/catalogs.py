"""The settings of the catalogs that are served."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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

    path: Path | None = None
    """The catalog made by `sightline catalog build`. For the backend `milvus`: the folder that was copied there by
    `sightline catalog push --writable`, where this one server writes it (`server.catalog_listen`); else unset."""
    backend: Literal["folder", "milvus"] = "folder"
    """The storage: `folder` for a folder on this machine, or `milvus` for what `sightline catalog push` has copied
    there."""
    uri: str = ""
    """The address of Milvus, http://HOST:PORT or https://HOST:PORT; for the backend `milvus`."""
    token_file: Path | None = None
    """A file with the token for Milvus, or with USER:PASSWORD. It is read again whenever a connection is made."""
    ca_file: Path | None = None
    """PEM file of the certificate authority that signed the certificate of Milvus. If unset, those of the system."""
    consent: Consent | None = None
    """Consent that a search of it needs: `off`, `optional` or `required`. If unset, that of `consent.mode`."""
    local_features: bool | None = None
    """Compares local features in searches of it, where it keeps them. If unset, `local_features.enabled`."""
    follow: Path | None = None
    """The folder that the writer of the catalog publishes its revisions to. This server keeps a copy in `path`, which
    only it writes to, and serves each new revision; see docs/operate/replicas.md."""
    publish: Path | None = None
    """A folder to publish each new revision of the catalog to, and what is written between two of them, for servers
    that follow it; one for each catalog."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.backend == "folder":
            if self.path is None:
                raise ValueError("a catalog needs a path, or backend = 'milvus' with a uri")
            if self.follow is not None and self.publish is not None:
                raise ValueError("a catalog that follows another one is not published; set follow or publish")
            if self.follow is not None and self.local_features:
                raise ValueError("local features are not published, so a catalog with follow has none; leave them out")
            if self.uri or self.token_file or self.ca_file:
                raise ValueError("uri, token_file and ca_file are for backend = 'milvus'; set that, or leave them out")
            return self
        if self.follow or self.publish:
            raise ValueError(
                "follow and publish are for backend = 'folder'; servers share a catalog in Milvus as it is"
            )
        if self.local_features:
            raise ValueError("a catalog in Milvus keeps no local features; leave local_features out")
        if not self.uri.startswith(("http://", "https://")):
            raise ValueError("a catalog in Milvus needs a uri such as http://milvus.internal:19530")
        if self.ca_file is not None and not self.uri.startswith("https://"):
            raise ValueError("ca_file needs a uri that begins with https://")
        return self
