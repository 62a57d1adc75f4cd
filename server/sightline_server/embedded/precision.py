"""The precision in which the embedded engine runs its models on a CPU: what was asked for, and what CPU and build give.

Rule: `float32` is always possible. `auto` takes bf16 for a model whose answers stay the same in it and which gains by
it (precision_gate.py); `bf16` means bf16 or no engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sightline_server.embedded.installation import BF16, Installation
from sightline_server.errors import ErrorKind, SightlineError

CPU_INFO = Path("/proc/cpuinfo")
CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags of CPUs that multiply numbers of 16 bits (bfloat16) and add them in 32 bits."""
LEAST_GAIN_MS = 1.0
LEAST_GAIN = 0.1
"""A model whose image saves less time, in milliseconds or as a share, stays in float32."""


class Precision(StrEnum):
    """The values of `engine.precision`."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answers of one model file in bf16, compared with those in float32, and the ms of an image on one thread.

    possible: OpenVINO runs all of it in bf16 and its answers are finite. same: the answers are the same within the
    limits. finding: what was compared, as a phrase.
    """

    model: str
    sha256: str
    possible: bool
    same: bool
    finding: str
    float32_ms: float = 0.0
    bf16_ms: float = 0.0

    @property
    def gains(self) -> bool:
        """True if bf16 saves enough time to be worth it."""
        return self.float32_ms - self.bf16_ms >= max(LEAST_GAIN_MS, LEAST_GAIN * self.float32_ms)

    @property
    def chosen(self) -> Precision:
        """The precision that `auto` takes."""
        return Precision.BF16 if self.possible and self.same and self.gains else Precision.FLOAT32

    def line(self) -> str:
        """The comparison as one line for a log or a terminal."""
        times = f"; {self.float32_ms:.1f} ms in float32, {self.bf16_ms:.1f} in bf16" if self.possible else ""
        return f"{self.model}: {self.chosen.value} ({self.finding}{times})"


@dataclass(frozen=True, slots=True)
class Precisions:
    """The decision for all models of an engine; a model without a comparison runs in float32.

    bf16: the models that run in bf16. changed: those of them whose answers are not the same, which only
    `engine.precision` `bf16` allows. reason: why nothing was compared; empty where something was.
    """

    bf16: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    reason: str = ""
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)


def cpu_has_bf16(info: Path = CPU_INFO) -> bool:
    """Returns whether the first CPU shows one of `CPU_FLAGS`; False where that cannot be read."""
    return bool(CPU_FLAGS & set(cpu_fact("flags", info).split()))


def cpu_fact(name: str, info: Path = CPU_INFO) -> str:
    """A value of the first CPU in /proc/cpuinfo; empty where there is none."""
    try:
        text = info.read_text(errors="replace")
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{name}\t")), "")


def obstacle(asked: Precision, installation: Installation, *, cpu_fits: bool) -> str:
    """The reason why no model can run in bf16; empty where it can."""
    if asked is Precision.FLOAT32:
        return "engine.precision is float32"
    if not cpu_fits:
        return "the CPU has no bf16"
    if installation.build != BF16:
        return "the engine has no OpenVINO; run `sightline engine install --bf16`"
    return ""


def decided(asked: Precision, comparisons: Mapping[str, Comparison]) -> Precisions:
    """The decision by `comparisons`. Raises CONFIGURATION where `bf16` was asked for and a model cannot run in it."""
    if asked is not Precision.BF16:
        chosen = frozenset(name for name, each in comparisons.items() if each.chosen is Precision.BF16)
        return Precisions(chosen, comparisons=comparisons)
    for each in comparisons.values():
        if not each.possible:
            refuse(f"the model {each.model} cannot run in it: {each.finding}")
    changed = frozenset(name for name, each in comparisons.items() if not each.same)
    return Precisions(frozenset(comparisons), changed, comparisons=comparisons)


def refuse(reason: str) -> None:
    """Raises CONFIGURATION: bf16 was asked for and cannot be had."""
    raise SightlineError(
        ErrorKind.CONFIGURATION, f"engine.precision is bf16, but {reason}. Set engine.precision to auto or float32."
    )
