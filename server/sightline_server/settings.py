"""Every setting of the server: `SIGHTLINE_*` variables over a TOML file over the defaults here.

Rule: frozen, read once by `cli/loading.py`, handed down in parts. A nested setting's variable joins names with two
underscores: `SIGHTLINE_LIMITS__MAX_PHOTO_BYTES`.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from sightline_models.errors import NoHomeError
from sightline_models.places import HOME_VARIABLE, find_home
from sightline_server.domain.address import (
    Address,
    TcpAddress,
    parse_endpoint,
    parse_listener,
    parse_target,
    parse_tcp_listener,
)
from sightline_server.domain.catalogs import DEFAULT_CATALOG, NAME, CatalogNames
from sightline_server.errors import ErrorKind, SightlineError

PhotoFormat = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic"]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

T = TypeVar("T")


def checked(parse: Callable[[str], T]) -> Callable[[Any], Any]:
    """A validator that parses what is written by `parse` and reports its `ValueError` as it is."""

    def validate(value: Any) -> Any:
        if value is None or isinstance(value, Address):
            return value
        try:
            return parse(str(value))
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None

    return validate


AS_TEXT = PlainSerializer(lambda address: None if address is None else str(address), return_type=str | None)
Listener = Annotated[Address, BeforeValidator(checked(parse_listener)), AS_TEXT, NoDecode]
TcpListener = Annotated[TcpAddress, BeforeValidator(checked(parse_tcp_listener)), AS_TEXT, NoDecode]
Target = Annotated[Address | None, BeforeValidator(checked(parse_target)), AS_TEXT, NoDecode]
Endpoint = Annotated[str | None, BeforeValidator(checked(parse_endpoint))]
CatalogName = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]


REQUEST_ALLOWANCE = 1024 * 1024
"""Bytes that a request may hold in addition to the photo."""


class Part(BaseModel):
    """A frozen group of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(Part):
    """Where the server listens and how it stops."""

    listen: Listener = TcpAddress("127.0.0.1", 50051)
    """HOST:PORT for gRPC, or unix:PATH; port 0 takes a free one."""
    metrics_listen: TcpListener = TcpAddress("127.0.0.1", 9464)
    """HOST:PORT for `/metrics`; port 0 takes a free one."""
    metrics_insecure: bool = False
    """Allows a `metrics_listen` that other machines reach: metrics have neither encryption nor a login."""
    tls_cert: Path | None = None
    """PEM certificate chain of the server."""
    tls_key: Path | None = None
    """PEM key of the server."""
    tls_client_ca: Path | None = None
    """PEM CA of the clients; makes TLS mutual."""
    insecure: bool = False
    """Allows a `listen` that other machines reach without TLS."""
    grace_s: Seconds = 20.0
    """How long a stop waits for the calls that it has accepted."""
    max_connection_idle_s: Seconds = 600.0
    """Connections without a call end after it; clients connect again when they need to."""
    handshake_timeout_s: Seconds = 10.0
    """How long a new connection may take until TLS and HTTP/2 are agreed upon."""
    max_connection_age_s: Seconds = 1800.0
    """Connections end after it, so that balancers can move clients to new replicas."""
    max_connection_age_grace_s: Seconds = 60.0
    """What calls on such a connection have left to end."""
    max_metadata_bytes: Annotated[int, Field(ge=4096, le=1024 * 1024)] = 16 * 1024
    """Largest metadata of a call, tokens and trace headers included; gRPC refuses more with RESOURCE_EXHAUSTED."""
    pid_file: Path | None = None
    """File that holds the server's process id while it serves, for `sightline catalog reload --pid-file`."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve on the one port, for machines with many cores; docs/operate/workers.md says when."""


class LimitSettings(Part):
    """What one request, and all of them together, may ask for."""

    max_photo_bytes: Positive = 20 * 1024 * 1024
    """Largest encoded photo."""
    max_photo_pixels: Positive = 64_000_000
    """Largest photo by its header, before anything is decoded."""
    max_regions: Positive = 16
    """Boxes and taps of one request."""
    default_objects: Positive = 8
    """Objects searched when the request says 0."""
    max_objects: Positive = 16
    """Objects that a request may ask for."""
    default_products: Positive = 10
    """Products per object when the request says 0."""
    max_products: Positive = 100
    """Products per object that a request may ask for."""
    max_concurrent_calls: Positive = 64
    """Ceiling of the adaptive limit on calls inside; it bounds the memory that photos may take."""
    max_open_calls: Positive = 1024
    """Searches open at once, those included whose photo is still on its way; more are refused before it is read."""
    max_connection_calls: Positive = 128
    """Searches open at once on one connection. A proxy in front of the server needs more than one caller does."""
    request_budget_bytes: Positive = 2 * 1024**3
    """Memory of all requests together. Before a request is read, room for the largest one is reserved; what it really
    takes replaces that once it is there."""
    min_upload_rate: Positive = 1024 * 1024
    """Lowest rate of an upload, in bytes a second: a request may take as long to arrive as the largest one at this
    rate. While others wait for its memory, one that takes ten times as long as others is refused."""
    target_first_result_s: Seconds = 1.0
    """The time to the first result that the adaptive limit keeps to; beyond it calls are refused, not queued."""
    default_deadline_s: Seconds = 10.0
    """For callers who set none."""
    max_deadline_s: Seconds = 30.0
    """Longer deadlines are shortened to it."""

    @property
    def largest_request(self) -> int:
        """Bytes of the largest request."""
        return self.max_photo_bytes + REQUEST_ALLOWANCE

    @model_validator(mode="after")
    def _defaults_within_caps(self) -> Self:
        if self.default_objects > self.max_objects or self.default_products > self.max_products:
            raise ValueError("a default is above its cap")
        if self.request_budget_bytes < self.largest_request:
            raise ValueError(
                f"request_budget_bytes is {self.request_budget_bytes}, but one request may have {self.largest_request} "
                "bytes: raise it, or lower max_photo_bytes"
            )
        return self


class DecodeSettings(Part):
    """How photos become frames."""

    threads: Positive = Field(default_factory=lambda: max(1, min(4, os.cpu_count() or 1)))
    """Threads that decode and crop."""
    max_frame_edge: Positive = 3072
    """A decoded photo is reduced to at most this longer edge, in pixels."""
    formats: Annotated[tuple[PhotoFormat, ...], Field(min_length=1)] = ("jpeg", "png", "webp")
    """Formats that callers may send, of `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`, `avif`, `heic`. Catalog images may
    have these and the first six. `heic` needs the extra `sightline[heif]`."""
    processes: Positive = 2
    """Most decode processes at once, for what only Pillow decodes: TIFF, AVIF, HEIC, plain BMP, JPEG of CMYK or without
    its end. They start with the first such photo and end after 5 s without one."""
    process_memory_bytes: Annotated[int, Field(ge=512 * 1024 * 1024)] = 2 * 1024**3
    """Address space of a decode process, 300 MB for its code included; a photo that needs more is refused."""
    process_timeout_s: Annotated[int, Field(gt=0, le=600)] = 10
    """Seconds of CPU and of time that one photo may take in a decode process; its caller's deadline may come first."""


class DetectionSettings(Part):
    """Which answers of the detector become objects."""

    min_score: Fraction = 0.25
    """Least confidence of a detection."""
    nms_iou: Fraction = 0.45
    """Detections of one class that overlap more than this are one object."""
    same_box_iou: Fraction = 0.7
    """Detections of two classes that overlap more than this are one object, named by the better one."""
    min_area: Fraction = 0.001
    """Smallest fraction of the photo that an object may cover."""
    tap_square: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Edge of the square around a tap that no detection covers, as a fraction of the shorter edge."""
    not_products: frozenset[str] | None = None
    """Labels that never become objects, in place of those that the detector's configuration states."""
    person_labels: frozenset[str] | None = None
    """Labels that mean a person, in place of those that the detector's configuration states. People are not searched;
    an empty list searches boxes, taps and whole photos that show people like any other."""
    person_min_score: Fraction = 0.25
    """Least confidence of a person. Lower finds more people and refuses more boxes on hands and clothes."""
    person_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """An object of which people cover at least this fraction is mostly on a person."""
    person_photo_share: Annotated[float, Field(gt=0, le=1)] = 0.02
    """A photo without products in which people cover at least this fraction is not searched as a whole."""
    carried_share: Fraction = 0.5
    """A detected product of at most this fraction of the person's area is carried or worn, and is searched."""
    carried_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A box that overlaps a carried product at least this much is on that product."""


class RankingSettings(Part):
    """What moves a product's score, and where the levels start; all in units of cosine similarity."""

    same_item: Fraction = 0.80
    """Similarity from which a match is SAME_ITEM."""
    similar: Fraction = 0.60
    """Similarity from which a match is SIMILAR; below it is WEAK."""
    category_bonus: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    """Added when the detector's label names the product's category."""
    unavailable_penalty: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Taken off a product that is out of stock."""
    min_similarity: Fraction = 0.0
    """Products below it are never returned; 0 keeps all."""
    extra_candidates: Annotated[int, Field(ge=0)] = 20
    """Neighbours fetched beyond those asked for, so that a reason can lift one of them into the answer. With
    `one_per_group` they are item groups."""
    one_per_group: bool = False
    """Shows one product of each `item_group_id`, for requests that do not say whether they want that."""


class BatchSettings(Part):
    """One batcher: `max_batch` items a call, `max_waiting` items in its queue, `slots` calls at once.

    0 slots are one more than the model has instances: then a batch is at the engine when the one before it ends.
    """

    max_batch: Positive = 16
    max_waiting: Positive = 256
    slots: Annotated[int, Field(ge=0)] = 0


class BatchingSettings(Part):
    """The three batchers of the hot path."""

    frames: BatchSettings = BatchSettings(max_batch=8)
    """Photos to the detector."""
    crops: BatchSettings = BatchSettings(max_batch=32, max_waiting=1024)
    """Objects to the embedder."""
    queries: BatchSettings = BatchSettings(max_batch=256, max_waiting=1024)
    """Embeddings to the index."""


class EngineSettings(Part):
    """The model server."""

    triton_url: Target = None
    """HOST:PORT or unix:PATH of a running Triton's gRPC service; without it the embedded engine is started."""
    triton_insecure: bool = False
    """Allows a `triton_url` on another machine without TLS: images are then sent in the clear."""
    triton_tls: bool = False
    """Uses TLS to `triton_url`, with the system's root certificates; any of the four settings below does so, too."""
    triton_tls_ca: Path | None = None
    """PEM certificates of the authority that signed Triton's certificate, in place of the system's."""
    triton_tls_cert: Path | None = None
    """PEM certificate chain that this server shows to Triton (mutual TLS)."""
    triton_tls_key: Path | None = None
    """PEM key of `triton_tls_cert`."""
    triton_tls_name: str = ""
    """A name in Triton's certificate, where that does not have the host of `triton_url`."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What the embedded engine runs on; `gpu` refuses to start without one."""
    repository: Path | None = None
    """The Triton model repository; without it the checkout's, or that below `home`."""
    start_timeout_s: Seconds = 60.0
    """Bound on starting the engine."""
    probe_interval_s: Seconds = 0.5
    """How often the engine is looked at."""
    probe_timeout_s: Seconds = 5.0
    """A probe without an answer for so long counts as a fault."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of the embedded engine's own metrics, on 127.0.0.1, for any user of this machine; 0 takes a free one,
    which the log names. Without it the engine has no TCP port."""
    shared_memory: bool = True
    """Pixels go through shared memory where a probe shows that it works."""


class CatalogSettings(Part):
    """One catalog to search; `[catalogs.NAME]` has more of them."""

    path: Path | None = None
    """The catalog made by `sightline catalog build`."""
    name: str = DEFAULT_CATALOG
    """The name that requests may give."""


class ServedCatalogSettings(Part):
    """One catalog to search, under the name that requests may give."""

    path: Path
    """The catalog made by `sightline catalog build`."""


class LogSettings(Part):
    """What the server says about itself."""

    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Least level that is logged."""
    json_lines: bool = False
    """One JSON object a line instead of plain text."""


class TracingSettings(Part):
    """Spans of calls and stages, for an OpenTelemetry collector."""

    endpoint: Endpoint = None
    """http://HOST:PORT or https://HOST:PORT of the collector's OTLP gRPC service; without it nothing is traced."""
    sample_ratio: Fraction = 0.1
    """How many calls are traced; a caller who has a trace of its own decides for its calls."""


def expanded(home: Any) -> Any:
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

    home: Annotated[Path | None, BeforeValidator(expanded)] = Field(default_factory=find_home)
    """Folder for engine, models and catalogs; None outside of a checkout for a user without a home folder."""
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    decode: DecodeSettings = DecodeSettings()
    detection: DetectionSettings = DetectionSettings()
    ranking: RankingSettings = RankingSettings()
    batching: BatchingSettings = BatchingSettings()
    engine: EngineSettings = EngineSettings()
    catalog: CatalogSettings = CatalogSettings()
    catalogs: dict[CatalogName, ServedCatalogSettings] = {}
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @property
    def catalog_folders(self) -> dict[str, Path]:
        """The folder of each catalog by its name, that of the group `catalog` first."""
        named = {name: part.path for name, part in self.catalogs.items()}
        return named if self.catalog.path is None else {self.catalog.name: self.catalog.path, **named}

    @property
    def catalog_names(self) -> CatalogNames:
        """The names that requests may give. The default is the one called `default`, else the first."""
        names = tuple(self.catalog_folders) or (self.catalog.name,)
        return CatalogNames(names, DEFAULT_CATALOG if DEFAULT_CATALOG in names else names[0])

    def with_catalogs(self, names: Iterable[str]) -> Self:
        """The same settings with only `names` of `catalogs`, in their order."""
        return self.model_copy(update={"catalogs": {name: self.catalogs[name] for name in names}})

    @model_validator(mode="after")
    def _one_folder_a_catalog(self) -> Self:
        named = self.catalogs.get(self.catalog.name)
        if named is not None and self.catalog.path is not None and named.path != self.catalog.path:
            raise ValueError(
                f"the catalog {self.catalog.name} has two folders: {self.catalog.path} by catalog.path and "
                f"{named.path} by catalogs.{self.catalog.name}.path; give one of them"
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
