"""All groups of settings together, and the sources that they are read from.

Rule: a value of the command line wins over a `SIGHTLINE_*` variable, that over the TOML file, that over the default.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from sightline_models.errors import NoHomeError
from sightline_models.places import HOME_VARIABLE, find_home
from sightline_server.domain.catalogs import DEFAULT_CATALOG, CatalogNames
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings.access import AccessSettings
from sightline_server.settings.audit import AuditSettings
from sightline_server.settings.batching import BatchingSettings
from sightline_server.settings.catalogs import CatalogName, CatalogSettings, IndexSettings, ServedCatalogSettings
from sightline_server.settings.codes import CodeSettings
from sightline_server.settings.consent import Consent, ConsentSettings, strictest
from sightline_server.settings.decode import DecodeSettings
from sightline_server.settings.detection import DetectionSettings
from sightline_server.settings.engine import EngineSettings
from sightline_server.settings.limits import LimitSettings
from sightline_server.settings.local_features import LocalFeatureSettings
from sightline_server.settings.printed_text import PrintedTextSettings
from sightline_server.settings.pseudonym_quota import PseudonymQuotaSettings
from sightline_server.settings.ranking import RankingSettings
from sightline_server.settings.server import ServerSettings
from sightline_server.settings.telemetry import LogSettings, TracingSettings
from sightline_server.settings.transfer import TransferSettings
from sightline_server.settings.valkey import ValkeySettings


def expand_home(home: Any) -> Any:
    """The user's `home` with `~` replaced: an empty one is the default, one below a missing home folder is None."""
    return find_home({HOME_VARIABLE: str(home)}) if isinstance(home, str | Path) else home


class Settings(BaseSettings):
    """All settings of a server."""

    model_config = SettingsConfigDict(
        env_prefix="SIGHTLINE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    home: Annotated[Path | None, BeforeValidator(expand_home)] = Field(default_factory=find_home)
    """Folder for engine, models and catalogs; None outside of a checkout for a user without a home folder."""
    server: ServerSettings = ServerSettings()
    access: AccessSettings = AccessSettings()
    consent: ConsentSettings = ConsentSettings()
    valkey: ValkeySettings = ValkeySettings()
    pseudonym_quota: PseudonymQuotaSettings = PseudonymQuotaSettings()
    audit: AuditSettings = AuditSettings()
    limits: LimitSettings = LimitSettings()
    decode: DecodeSettings = DecodeSettings()
    codes: CodeSettings = CodeSettings()
    local_features: LocalFeatureSettings = LocalFeatureSettings()
    printed_text: PrintedTextSettings = PrintedTextSettings()
    detection: DetectionSettings = DetectionSettings()
    ranking: RankingSettings = RankingSettings()
    batching: BatchingSettings = BatchingSettings()
    engine: EngineSettings = EngineSettings()
    catalog: CatalogSettings = CatalogSettings()
    catalogs: dict[CatalogName, ServedCatalogSettings] = {}
    index: IndexSettings = IndexSettings()
    transfer: TransferSettings = TransferSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @property
    def catalog_folders(self) -> dict[str, Path]:
        """The folder of each catalog that is searched there, by its name; that of the group `catalog` first."""
        named = {
            name: part.path
            for name, part in self.catalogs.items()
            if part.backend == "folder" and part.path is not None
        }
        return named if self.catalog.path is None else {self.catalog.name: self.catalog.path, **named}

    @property
    def followed_catalogs(self) -> dict[str, Path]:
        """The folder that each catalog with `follow` follows, by the catalog's name."""
        return {name: part.follow for name, part in self.catalogs.items() if part.follow is not None}

    @property
    def published_catalogs(self) -> dict[str, Path]:
        """The folder that each catalog with `publish` is published to, by the catalog's name."""
        return {name: part.publish for name, part in self.catalogs.items() if part.publish is not None}

    @property
    def milvus_catalogs(self) -> dict[str, ServedCatalogSettings]:
        """The catalogs in Milvus, by name."""
        return {name: part for name, part in self.catalogs.items() if part.backend == "milvus"}

    @property
    def written_in_milvus(self) -> dict[str, Path]:
        """The folder of each catalog in Milvus that this server writes, by its name."""
        return {name: part.path for name, part in self.milvus_catalogs.items() if part.path is not None}

    @property
    def catalog_names(self) -> CatalogNames:
        """The names that requests may give. The default is the one called `default`, else the first."""
        names = (*self.catalog_folders, *self.milvus_catalogs) or (self.catalog.name,)
        return CatalogNames(names, DEFAULT_CATALOG if DEFAULT_CATALOG in names else names[0])

    def with_catalogs(self, names: Iterable[str]) -> Self:
        """The same settings with only `names` of `catalogs`, in their order.

        The catalog of the group `catalog` keeps what is set for its name.
        """
        name = self.catalog.name
        own = {"consent": self.consent_of.get(name), "local_features": self.local_features_of.get(name)}
        catalog = self.catalog.model_copy(update=own)
        return self.model_copy(update={"catalog": catalog, "catalogs": {name: self.catalogs[name] for name in names}})

    @property
    def consent_of(self) -> dict[str, Consent]:
        """The consent of each catalog that has its own setting; of two for one name the strictest counts."""
        modes = {name: part.consent for name, part in self.catalogs.items()}
        modes[self.catalog.name] = strictest(self.catalog.consent, modes.get(self.catalog.name))
        return {name: mode for name, mode in modes.items() if mode is not None}

    @property
    def local_features_of(self) -> dict[str, bool]:
        """The setting of local features of each catalog that has its own; of two for one name False counts."""
        chosen = [(name, part.local_features) for name, part in self.catalogs.items()]
        found: dict[str, bool] = {}
        for name, compared in [*chosen, (self.catalog.name, self.catalog.local_features)]:
            if compared is not None:
                found[name] = compared and found.get(name, True)
        return found

    @model_validator(mode="after")
    def _consent_can_be_checked(self) -> Self:
        modes = {self.consent.mode, *self.consent_of.values()}
        if modes != {"off"} and self.consent.jwks_file is None:
            raise ValueError("consent needs consent.jwks_file, which verifies the grants")
        if self.server.workers > 1 and self.consent.store == "process":
            raise ValueError(
                "consent.store = 'process' lets a grant count once in each worker; with server.workers use 'host'"
            )
        if (self.consent.store == "valkey") != (self.valkey.url is not None):
            raise ValueError("consent.store = 'valkey' and valkey.url go together: set both, or neither")
        return self

    @model_validator(mode="after")
    def _one_folder_a_catalog(self) -> Self:
        named = self.catalogs.get(self.catalog.name)
        if named is not None and self.catalog.path is not None and named.path != self.catalog.path:
            other = f"{named.path} by catalogs.{self.catalog.name}.path" if named.path else f"{named.uri} in Milvus"
            raise ValueError(
                f"the catalog {self.catalog.name} has two folders: {self.catalog.path} by catalog.path and "
                f"{other}; give one of them"
            )
        return self

    @property
    def home_folder(self) -> Path:
        """`home`. Raises `SightlineError` of kind CONFIGURATION where there is none."""
        if self.home is None:
            raise SightlineError(ErrorKind.CONFIGURATION, str(NoHomeError()))
        return self.home

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
