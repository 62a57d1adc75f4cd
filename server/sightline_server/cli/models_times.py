"""The line of `models use` that says what a model costs on this machine, compared with the model before it.

Rule: a model that cannot be measured costs its line only; the command goes on.
"""

from dataclasses import dataclass
from pathlib import Path

from sightline_models.defaults import DefaultModel
from sightline_models.errors import ModelError
from sightline_models.store import inspect


@dataclass(frozen=True, slots=True)
class Timed:
    """A model with the CPU milliseconds that an image takes on one thread."""

    name: str
    cpu_ms: float


def timed(repository: Path, model: DefaultModel) -> Timed | None:
    """The model that is in the folder of `model`; None where none can be run."""
    # Late, so that the other commands do not load numpy.
    from sightline_models.timing import cpu_ms

    stored = inspect(repository, model)
    if not stored.found:
        return None
    try:
        return Timed(stored.name, cpu_ms(stored.path))
    except ModelError:
        return None


def times_line(folder: str, before: Timed | None, after: Timed | None) -> str:
    """The line of a model in `folder`; empty where it was not measured."""
    if after is None:
        return ""
    instead = f", {before.cpu_ms:.0f} with {before.name}" if before and before.name != after.name else ""
    return f"{folder}: {after.cpu_ms:.0f} ms of CPU an image on one thread of this machine{instead}"
