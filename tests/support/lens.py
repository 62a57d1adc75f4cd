"""The server's own gRPC side and pipeline over fakes of its two seams, for contract tests.

`serving(...)` builds the parts of the real server (`app/parts.py`) and listens on a real port. Only `FakeEngine` and
`FakeSnapshot` replace Triton and FAISS, and a test decides what both do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from numpy.typing import NDArray

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_server.app.door import Door, MakeAccess, MakeServices, no_services
from sightline_server.app.parts import Core, Front, admit_calls, build_core, build_front, start_refusing
from sightline_server.domain.catalogs import DEFAULT_CATALOG, Capability
from sightline_server.domain.embedders import ServedEmbedders, embedder_role
from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AppliedFilter, Filter, FilterPlan, PlanKind
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.models import (
    DETECTOR,
    EMBEDDER,
    AnyRole,
    DetectorSpec,
    EmbedderSpec,
    Role,
    SpecT,
    TextEncoderSpec,
)
from sightline_server.domain.printed_text_models import TEXT_DETECTOR, TEXT_READER, TextDetectorSpec, TextReaderSpec
from sightline_server.domain.probes import NO_PROBES, Probes
from sightline_server.domain.stages import CODES, STAGES
from sightline_server.domain.text_encoders import ServedTextEncoder, by_embedder
from sightline_server.domain.verdict import Verdict
from sightline_server.domain.weights import Weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.filtered import FilteredSnapshot
from sightline_server.index.registry import Registry
from sightline_server.pipeline import Pipeline
from sightline_server.ports import CodedProducts, Engine, ImageFeatures, ModelRunner, Snapshot
from sightline_server.rpc.server import listening
from sightline_server.search.object_embedder import CropsBatcher
from sightline_server.settings import Settings
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import OFF, Tracing

Answer = Mapping[str, NDArray[Any]]
Reply = Answer | Exception | Callable[[int], Answer]
CHAIR, VASE = (0.125, 0.25, 0.5, 0.75), (0.625, 0.25, 0.875, 0.75)
"""Boxes that the fake detector sees, in the letterboxed frame, which is the photo where that is square."""
TEXT_SPECS = (
    TextDetectorSpec("tiny-text-detector", "1", 64, 64),
    TextReaderSpec("tiny-text-reader", "1", 16, 96, 64),
)
"""The fake models that read printed text."""
PLAIN_STAGES = tuple(stage.name for stage in STAGES if not stage.optional or stage is CODES)
"""The stages of a search of a photo without options in a `FakeSnapshot`, which has a GTIN and no local features."""


def detections(batch: int, *rows: tuple[tuple[float, ...], float, int]) -> Answer:
    """The detector's answer with the same (box, score, label) rows for each of `batch` images."""
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return {
        "BOXES": np.tile(boxes, (batch, 1, 1)),
        "SCORES": np.tile(np.array([score for _, score, _ in rows], np.float32), (batch, 1)),
        "LABELS": np.tile(np.array([label for _, _, label in rows], np.int32), (batch, 1)),
    }


def two_objects(batch: int) -> Answer:
    """A chair and a vase in each image."""
    return detections(batch, (CHAIR, 0.75, 0), (VASE, 0.5, 1))


@dataclass
class FakeRunner:
    """A model with scripted answers: `replies`, then `usual`; while `gate` is closed it waits for the deadline."""

    usual: Callable[[Sequence[NDArray[np.uint8]]], Answer]
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    replies: list[Reply] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def infer(self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None) -> Answer:
        (parts,) = inputs.values()
        self.batches.append(len(parts))
        self.parts.extend(parts)
        self.deadlines.append(deadline)
        self.started.set()
        try:
            async with asyncio.timeout_at(deadline):
                await self.gate.wait()
        except TimeoutError:
            raise SightlineError(
                ErrorKind.DEADLINE_EXCEEDED, "the deadline passed before the engine answered"
            ) from None
        reply = self.replies.pop(0) if self.replies else self.usual(parts)
        if isinstance(reply, Exception):
            raise reply
        return reply(len(parts)) if callable(reply) else reply


class FakeEngine:
    """An engine of two `FakeRunner`s whose readiness a test sets, with one more for each of `further` embedders.

    These are by the names of their folders.
    """

    metrics_url = ""

    def __init__(self, **further: EmbedderSpec) -> None:
        self.detector = DetectorSpec("tiny-detector", "1", 64, 64, 8, ("chair", "vase", "person"), sha256="d" * 64)
        self.embedder = EmbedderSpec("tiny-embedder", "1", 16, 16, 4, sha256="e" * 64)
        self.models = {
            "detector": FakeRunner(lambda parts: two_objects(len(parts))),
            "embedder": FakeRunner(embeddings),
            "text_detector": FakeRunner(no_text),
            "text_reader": FakeRunner(partial(lines_of_text, "")),
        }
        self.further = {embedder_role(name.replace("_", "-")): spec for name, spec in further.items()}
        for role, spec in self.further.items():
            self.models[role] = FakeRunner(partial(embeddings, dimension=spec.dimension))
        self.texts: dict[Role[TextEncoderSpec], TextEncoderSpec] = {}
        self.metrics_url = ""
        self._ready = True
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def ready(self) -> bool:
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        for listener in self._listeners:
            listener(ready)

    def spec(self, role: Role[SpecT]) -> SpecT:
        text: dict[AnyRole, Any] = {TEXT_DETECTOR: TEXT_SPECS[0], TEXT_READER: TEXT_SPECS[1]}
        served: dict[AnyRole, Any] = {DETECTOR: self.detector, EMBEDDER: self.embedder}
        specs: dict[AnyRole, Any] = {**served, **text, **self.further, **self.texts}
        return cast(SpecT, specs[role])

    @property
    def embedders(self) -> ServedEmbedders:
        return ServedEmbedders.of([(EMBEDDER, self.embedder), *self.further.items()])

    def add_text_encoder(self, spec: TextEncoderSpec, folder: str = "text_encoder") -> FakeRunner:
        """A text encoder of the embedder next to `folder`; returns its runner."""
        role = Role[TextEncoderSpec](folder)
        self.texts[role], self.models[role] = spec, FakeRunner(partial(text_vectors, dimension=spec.dimension))
        return self.models[role]

    @property
    def text_encoders(self) -> Mapping[str, ServedTextEncoder]:
        return by_embedder(list(self.texts.items()), self.embedders)

    def runner(self, role: AnyRole) -> FakeRunner:
        return self.models[role]

    def on_change(self, listener: Callable[[bool], None]) -> None:
        self._listeners.append(listener)

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""


def embeddings(parts: Sequence[NDArray[np.uint8]], dimension: int = 4) -> Answer:
    """Mean colour and ones, of length one: what looks alike lies near."""
    ones = [1.0] * (dimension - 3)
    raw = np.array([[*part.reshape(-1, 3).mean(axis=0), *ones] for part in parts], np.float32)
    return {"EMBEDDINGS": raw / np.linalg.norm(raw, axis=1, keepdims=True)}


def no_text(parts: Sequence[NDArray[np.uint8]]) -> Answer:
    """No line in any image."""
    return {"TEXT": np.zeros((len(parts), 64, 64), np.uint8)}


def one_line(parts: Sequence[NDArray[np.uint8]]) -> Answer:
    """One line in the middle of each image."""
    maps = np.zeros((len(parts), 64, 64), np.uint8)
    maps[:, 28:34, 10:50] = 250
    return {"TEXT": maps}


def lines_of_text(text: str, parts: Sequence[NDArray[np.uint8]]) -> Answer:
    """`text` in each line, with a position without a character after each of its letters."""
    codes = np.zeros((len(parts), 64), np.int32)
    codes[:, : 2 * len(text) : 2] = list(map(ord, text))
    return {"CHARACTERS": codes, "PROBABILITIES": np.full(codes.shape, 0.9, np.float32)}


def text_vectors(parts: Sequence[NDArray[Any]], dimension: int = 4) -> Answer:
    """For each row of token ids the axis of its first id."""
    return {"EMBEDDINGS": np.eye(dimension, dtype=np.float32)[[int(part[0]) % dimension for part in parts]]}


@dataclass(eq=False)
class FakeSnapshot:
    """Satisfies `ports.Snapshot`: raises `failure` if set, else gives the same products, most similar first.

    While `gate` is closed, searches wait.
    """

    name: str = DEFAULT_CATALOG
    revision: str = "rev-1"
    dimension: int = 4
    product_count: int = 5
    failure: Exception | None = None
    queries: list[int] = field(default_factory=list)
    built_at: str = "2026-01-02T03:04:05+00:00"
    embedder: str = "tiny-embedder@eeeeeeeeeeee"
    capabilities: frozenset[Capability] = frozenset(Capability)
    self_check_recall: float = 1.0
    probes: Probes = NO_PROBES
    applied_filter: AppliedFilter | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    gtins: Mapping[int, Sequence[int]] = field(default_factory=lambda: {0: ()})
    """The rows that each GTIN finds. Codes are read where there is an entry, also for one that no code has."""

    local_features: ImageFeatures | None = None
    weights: Weights | None = None
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def has_gtins(self) -> bool:
        return bool(self.gtins)

    async def with_gtin(self, gtin: int) -> CodedProducts | None:
        """The products of the rows, which are less similar to the object than those that are near."""
        assert not self.closed, "a code is looked up after the snapshot was freed"
        rows = self.gtins.get(gtin)
        if not rows:
            return None

        def neighbours(similarity: float) -> list[Neighbour]:
            return [Neighbour(n, n, similarity, f"p{n}", "Chairs", "", n) for n in rows]

        async def nearest(
            queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
        ) -> list[list[Neighbour]]:
            return [neighbours(0.2)[:k] for _ in queries]

        return CodedProducts(FilteredSnapshot(self, self.applied_filter, nearest), tuple(neighbours(0.0)))

    async def select(self, wanted: Filter) -> Snapshot:
        """Its products have no fields that a filter could match."""
        if not wanted:
            return self
        applied = AppliedFilter(filter_text(wanted), FilterPlan(PlanKind.NO_MATCH, 0, 0))
        return FilteredSnapshot(self, applied, self._nothing)

    async def _nothing(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        return [[] for _ in queries]

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        assert not self.closed, "a snapshot is searched after it was freed"
        self.queries.append(len(queries))
        self.started.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        every = [Neighbour(n, n, 0.9 - n / 10, f"p{n}", "Chairs", "", n) for n in range(self.product_count)]
        return [every[:k] for _ in queries]

    def products(self, rows: Sequence[int]) -> list[Product]:
        assert not self.closed, "products are read after the snapshot was freed"
        return [Product(f"p{n}", title=f"Product {n} of {self.revision}", category="Chairs") for n in rows]

    def image_links(self, images: Sequence[int]) -> list[str]:
        return [f"p{n}.jpg" for n in images]

    async def close(self) -> None:
        self.closed = True


if TYPE_CHECKING:
    # Here mypy compares each fake with its port.
    _runner: ModelRunner = FakeRunner(embeddings)
    _engine: Engine = FakeEngine()
    _snapshot: Snapshot = FakeSnapshot()


@dataclass
class Served:
    """A server on a real port and what a test needs of it."""

    front: Front
    core: Core
    engine: FakeEngine
    index: Any
    address: str
    channel: grpc.aio.Channel

    @property
    def door(self) -> Door:
        """The gRPC side."""
        return self.front.door

    @property
    def metrics(self) -> Metrics:
        """Every metric of the server."""
        return self.front.metrics

    @property
    def catalogs(self) -> Registry:
        """The catalogs that are served."""
        return self.core.registry

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline behind admission."""
        return self.core.pipeline

    @property
    def crops(self) -> CropsBatcher:
        """The crops of the first embedder."""
        return next(iter(self.core.batchers.crops_of.values()))

    def search(self, request: lens_service_pb2.SearchRequest, **options: Any) -> Any:
        """The call's stream."""
        return lens_service_pb2_grpc.LensServiceStub(self.channel).Search(request, **options)

    def value(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it has none yet."""
        return self.metrics.registry.get_sample_value(f"sightline_{name}", labels) or 0.0

    async def gone(self) -> None:
        """Returns when no call is inside."""
        await self.door.admission._empty.wait()

    async def open(self) -> None:
        """Lets calls in."""
        await admit_calls(self.front, self.core)


@asynccontextmanager
async def serving(
    *,
    opened: bool = True,
    engine: FakeEngine | None = None,
    index: Any = None,
    others: Sequence[Any] = (),
    channel_options: Sequence[tuple[str, Any]] = (),
    credentials: grpc.ChannelCredentials | None = None,
    tracing: Tracing = OFF,
    access: MakeAccess | None = None,
    rights: Mapping[str, Any] | None = None,
    services: MakeServices = no_services,
    repository: Path | None = None,
    **parts: Mapping[str, Any],
) -> AsyncIterator[Served]:
    """The server with `parts` of the settings on a free port, and a channel to it; `rights` is the group `access`, and
    `repository` the folder with the tokenizers of text encoders.

    Each model runs one batch at a time unless `batching` says otherwise, so that a test can fill the queue behind it.
    """
    async with AsyncExitStack() as stack:
        given: dict[str, Any] = {"batching": {"frames": {"slots": 1}, "crops": {"slots": 1}}, **parts}
        given["server"] = {"listen": "127.0.0.1:0", **parts.get("server", {})}
        given["access"] = rights or {}
        if repository is not None:
            given["engine"] = {"repository": repository}
        settings, metrics = Settings(**given), Metrics()
        engine, index = engine or FakeEngine(), index or FakeSnapshot()

        async def publish(registry: Registry, device: DeviceThread, embedders: ServedEmbedders) -> None:
            for snapshot in (index, *others):
                registry.publish(snapshot)

        front = build_front(stack, settings, metrics, tracing=tracing, access=access, services=services)
        address = stack.enter_context(listening(front.door.server, settings.server, front.door.certificates))
        await start_refusing(stack, front)
        core = await build_core(stack, front, engine, EngineMetrics(metrics.engine), publish)
        channel = await stack.enter_async_context(channel_to(str(address), credentials, channel_options))
        served = Served(front, core, engine, index, str(address), channel)
        if opened:
            await served.open()
        yield served


def channel_to(
    address: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
) -> grpc.aio.Channel:
    """A channel to a server of a test, with TLS to the name localhost where there are credentials."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), credentials, options=options)


async def until(holds: Callable[[], bool]) -> None:
    """Returns when `holds`; what happens in gRPC's own threads gives no event to wait for."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


@dataclass
class Failed:
    """The outcome of a failed call: the events before its error, and the error with its details by name."""

    events: list[str]
    code: grpc.StatusCode
    message: str
    details: dict[str, Any]

    @property
    def reason(self) -> str:
        """The reason of the ErrorInfo."""
        return str(self.details["ErrorInfo"].reason)


async def failed(call: Any) -> Failed:
    """Reads a stream that must fail."""
    events: list[str] = []
    try:
        while (response := await call.read()) is not grpc.aio.EOF:
            events.append(response.WhichOneof("event"))
    except grpc.aio.AioRpcError as error:
        return Failed(events, error.code(), error.details() or "", details_of(error))
    raise AssertionError(f"the call succeeded: {events}")


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Name -> message of the `google.rpc.Status` in the error's trailing metadata; empty without one."""
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if packed is None:
        return {}
    status = status_pb2.Status.FromString(packed)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    kinds: list[type[Message]] = [
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
        error_details_pb2.QuotaFailure,
        error_details_pb2.ResourceInfo,
    ]
    found: dict[str, Any] = {}
    for detail in status.details:
        for kind in kinds:
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                detail.Unpack(message)
                found[kind.__name__] = message
    assert len(found) == len(status.details)
    return found
