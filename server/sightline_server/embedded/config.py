"""The configuration of an engine on this machine.

Rule: values only. The default of a value that users can set is the one of `EngineSettings`.
"""

from dataclasses import dataclass
from pathlib import Path

from sightline_server.domain.models import ROLES, AnyRole
from sightline_server.embedded.devices import Device
from sightline_server.embedded.precision import Precision
from sightline_server.settings import EngineSettings

DEFAULTS = EngineSettings()
DEFAULT_DEVICE = Device(DEFAULTS.device)
DEFAULT_PRECISION = Precision(DEFAULTS.precision)


@dataclass(frozen=True, slots=True)
class EmbeddedConfig:
    """Settings of the embedded engine alone; those of every engine are in `triton.config.EngineConfig`."""

    home: Path
    """Folder in which `sightline engine install` installed the engine."""

    repository: Path
    """Triton model repository with a folder for each role."""

    device: Device = DEFAULT_DEVICE
    """`gpu` refuses to run on anything else, `auto` uses a GPU where one is available."""

    precision: Precision = DEFAULT_PRECISION
    """`auto` runs a model in bf16 where CPU and engine have it, its answers stay the same and it gains by it."""

    metrics_port: int | None = DEFAULTS.metrics_port
    """Port of Triton's own metrics on 127.0.0.1; 0 takes a free one, None has no metrics."""

    roles: tuple[AnyRole, ...] = ROLES
    """The roles of the models that are served."""
