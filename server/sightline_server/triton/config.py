"""The configuration of an engine; handed down by `app/engine.py`.

Rule: values only. The default of a value that users can set is the one of `EngineSettings`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from sightline_server.domain.models import AnyRole
from sightline_server.settings import EngineSettings
from sightline_server.triton.specs import BOTH, ServedModel

DEFAULTS = EngineSettings()


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of every engine, wherever it runs; those of its place are its host's."""

    start_timeout_s: float = DEFAULTS.start_timeout_s
    """Bound on starting, from nothing to two models that answer."""

    stop_timeout_s: float = 5.0
    """How long the engine may take to end by itself before it is killed."""

    probe_interval_s: float = DEFAULTS.probe_interval_s
    """Time between two probes of the engine."""

    probe_timeout_s: float = DEFAULTS.probe_timeout_s
    """After so long without an answer to a probe the engine counts as frozen."""

    idle_infer_interval_s: float = 10.0
    """Remote engines only: after so long without an answered call a tiny infer is sent. The processes of an embedded
    engine are looked at directly; there a tiny infer is sent at the start, after mending, and when a call failed."""

    reload_timeout_s: float = 20.0
    """Bound on unloading and loading one model whose stub died."""

    unload_timeout_s: float = 1.5
    """How long a model may take to go before it is loaded again all the same."""

    infer_timeout_s: float = 60.0
    """After so long a call in the engine is given up, whatever its caller's deadline."""

    restart_backoff_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
    """Waits before the first, second, ... restart in a row; the last one repeats."""

    shared_memory: bool = DEFAULTS.shared_memory
    """Whether pixels may go through system shared memory where a probe shows that it works."""

    rest_s: float = 5.0
    """After so long without a call, what callers left in the engine's memory is overwritten."""

    models: tuple[ServedModel[Any], ...] = BOTH
    """The models that are served; each has the folder of its role in the repository."""

    @property
    def roles(self) -> tuple[AnyRole, ...]:
        """The roles of the models that are served."""
        return tuple(model.role for model in self.models)


class EngineEvents(Protocol):
    """What the telemetry hears of the engine."""

    def restarted(self, kind: str, /) -> None:
        """The engine was mended: `reload` of a model or `restart` of the whole."""

    def transport(self, model: str, name: str, /) -> None:
        """How pixels reach `model` now: `shm` or `inline`."""

    def provider(self, model: str, name: str, /) -> None:
        """What runs `model`: ONNX Runtime's provider, such as `CPUExecutionProvider`, or `remote`."""

    def given_up(self, model: str, /) -> None:
        """Triton gave up the stub of `model`, which may live and be out of step with it."""


class NoEvents:
    """Hears nothing."""

    def restarted(self, kind: str, /) -> None:
        """Ignored."""

    def transport(self, model: str, name: str, /) -> None:
        """Ignored."""

    def provider(self, model: str, name: str, /) -> None:
        """Ignored."""

    def given_up(self, model: str, /) -> None:
        """Ignored."""
