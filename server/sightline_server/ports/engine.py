"""The engine and its models, as the core calls them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from sightline_server.domain.checks import Check
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import AnyRole, Role, SpecT
from sightline_server.domain.text_encoders import ServedTextEncoder
from sightline_server.process_identity import ProcessIdentity

Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


class ModelRunner(Protocol):
    """Runs one model on a batch."""

    async def infer(
        self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None
    ) -> Mapping[str, NDArray[Any]]:
        """Runs one batch of B items; returns output name -> [B,...].

        `inputs` has B arrays, one for each item, for every input tensor of the model: for an image model uint8 [H,W,3]
        of the model's size. `deadline` is an instant of `time.monotonic()`. Raises `SightlineError` of kind
        ENGINE_UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL.
        """


class Models(Protocol):
    """The models that are served, by role."""

    @property
    def embedders(self) -> ServedEmbedders:
        """The embedders that are served, the one of role `embedder` first; valid once started."""

    def spec(self, role: Role[SpecT]) -> SpecT:
        """The model of `role` as the engine describes it; valid once started. Raises `ValueError` without one."""

    def runner(self, role: AnyRole) -> ModelRunner:
        """The runner of the model of `role`. Raises `ValueError` without one."""


class Engine(Models, Protocol):
    """The model server, embedded or remote."""

    @property
    def ready(self) -> bool:
        """True if all models answered their latest probe and no call has failed since."""

    @property
    def metrics_url(self) -> str:
        """The URL of the model server's own metrics; empty where that is not known."""

    @property
    def text_encoders(self) -> Mapping[str, ServedTextEncoder]:
        """The text encoders that are served, by the identity of the embedder of each; valid once started."""

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener` with the new readiness whenever it changes."""

    async def start(self) -> None:
        """Returns when all models answer. Raises `SightlineError` with the engine's log when they do not."""

    async def stop(self) -> None:
        """Ends everything that `start` began, within a bound."""


class SharedEngine(Engine, Protocol):
    """An engine that other processes of this server call, too: its address, and what is done for them."""

    @property
    def address(self) -> str:
        """gRPC address of the model server: HOST:PORT or unix:PATH."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Model -> SHA-256 of its file; empty where that is not known."""

    def give_up(self, model: str) -> None:
        """Another process reports that the model server marked `model` as unhealthy."""

    def forget_process(self, process: ProcessIdentity) -> None:
        """Removes the shared memory of another process that called this engine and has ended, pixels included."""


class EmbeddedChecks(Protocol):
    """The checks of `sightline doctor` and `sightline models check` for an engine on this machine."""

    def python(self) -> Check:
        """The finding about this Python, which runs in the engine."""

    def c_library(self) -> Check:
        """The finding about the C library, which the engine is linked to."""

    def disk(self, home: Path) -> Check:
        """The finding about the disk: room for engine, models and catalogs in `home`."""

    def installed(self, home: Path) -> Path:
        """The folder of the engine that is installed under `home`. Raises `SightlineError` when there is none."""

    def precision(self, home: Path, repository: Path, asked: str) -> Check:
        """The finding about the precision in which the models in `repository` run, with `engine.precision` as `asked`.

        Raises `SightlineError` without an installed engine.
        """

    def model_config(self, repository: Path, model: str) -> Path:
        """The `config.pbtxt` that the engine would use for `model`; it may be missing."""
