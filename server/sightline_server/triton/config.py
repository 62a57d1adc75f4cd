"""The configuration of an engine; handed down by `app/engine.py`.

Rule: values only. The default of a value that users can set is the one of `EngineSettings`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from sightline_server.domain.models import AnyRole, EmbedderSpec, Role, TextEncoderSpec
from sightline_server.settings import EngineSettings
from sightline_server.triton.specs import BOTH, EMBEDDER_CONTRACT, TEXT_CONTRACT, ServedModel

DEFAULTS = EngineSettings()


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of every engine, embedded or remote; the host has those of the location."""

    start_timeout_s: float = DEFAULTS.start_timeout_s
    """Longest time of a start, until all models answer."""

    stop_timeout_s: float = 5.0
    """Time in which the engine may end by itself before it is killed."""

    probe_interval_s: float = DEFAULTS.probe_interval_s
    """Time between two probes of the engine."""

    probe_timeout_s: float = DEFAULTS.probe_timeout_s
    """Without an answer to a probe for this time the engine counts as frozen."""

    idle_infer_interval_s: float = 10.0
    """Remote engines only: after this time without an answered call a tiny infer is sent. The processes of an embedded
    engine are inspected directly; it gets a tiny infer at the start, after a restart, and when a call has failed."""

    reload_timeout_s: float = 20.0
    """Longest time for unloading and loading one model whose stub has died."""

    unload_timeout_s: float = 1.5
    """Time in which a model must be unloaded; after it the engine is restarted instead."""

    infer_timeout_s: float = 60.0
    """A call in the engine is abandoned after this time, whatever its caller's deadline."""

    restart_backoff_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
    """Waits before the first, second, ... restart in a row; the last one repeats."""

    shared_memory: bool = DEFAULTS.shared_memory
    """True if pixels may go through system shared memory where a probe shows that it works."""

    rest_s: float = 5.0
    """After this time without a call, the data that callers left in the engine's memory is overwritten."""

    models: tuple[ServedModel[Any], ...] = BOTH
    """The models that are served; each has the folder of its role in the repository."""

    @property
    def roles(self) -> tuple[AnyRole, ...]:
        """The roles of the models that are served."""
        return tuple(model.role for model in self.models)

    @property
    def embedder_roles(self) -> tuple[Role[EmbedderSpec], ...]:
        """The roles of the embedders, in their order."""
        return tuple(model.role for model in self.models if model.contract is EMBEDDER_CONTRACT)

    @property
    def text_roles(self) -> tuple[Role[TextEncoderSpec], ...]:
        """The roles of the text encoders, in their order."""
        return tuple(model.role for model in self.models if model.contract is TEXT_CONTRACT)


class EngineEvents(Protocol):
    """The events of an engine that the telemetry receives."""

    def restarted(self, kind: str, /) -> None:
        """The engine was recovered: `reload` of a model or `restart` of the whole."""

    def transport(self, model: str, name: str, /) -> None:
        """Pixels now reach `model` by `shm` or `inline`."""

    def provider(self, model: str, name: str, precision: str, /) -> None:
        """`model` is run by ONNX Runtime's provider `name`, such as `CPUExecutionProvider`, or is `remote`; in
        `float32` or `bf16`, empty where that is not known."""

    def given_up(self, model: str, /) -> None:
        """Triton marked the stub of `model` as unhealthy; the stub may live and be out of step with Triton."""


class NoEvents:
    """Ignores every event."""

    def restarted(self, kind: str, /) -> None:
        """Ignored."""

    def transport(self, model: str, name: str, /) -> None:
        """Ignored."""

    def provider(self, model: str, name: str, precision: str, /) -> None:
        """Ignored."""

    def given_up(self, model: str, /) -> None:
        """Ignored."""
