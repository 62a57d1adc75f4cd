"""The model that `models export` reads: a folder, or a model of a hub.

Place in the flow: text on the command line -> `ExportSource` -> `sightline_models.pytorch`. The one rule: nothing here
imports PyTorch, so that a wrong text or a missing package is reported at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from sightline_models.embedders import FOLDER
from sightline_models.errors import ModelError

INSTALL = 'python3 -m venv export-env && export-env/bin/pip install "sightline[cpu,export]"'
"""The command that makes the environment of `models export`."""
_TIMM = "timm:"
_OF_HUB = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)(@(?P<revision>[\w./-]+))?")


class Library(StrEnum):
    """The library that loads a model."""

    TRANSFORMERS = "transformers"
    TIMM = "timm"


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A model as its library names it.

    folder: the files are there, and no hub is asked. revision: of the hub's repository, None is the newest.
    """

    library: Library
    id: str
    folder: bool
    revision: str | None = None

    @property
    def text(self) -> str:
        """The source as a message names it."""
        return f"timm:{self.id}" if self.library is Library.TIMM and not self.folder else self.id

    def model_name(self) -> str:
        """The name in the repository that follows from the source. Raises `ModelError` where none does."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", re.split(r"[/:]", self.id.rstrip("/"))[-1])
        if FOLDER.fullmatch(f"embedder-{name}") is None:
            raise ModelError(f"{self.text}: {name!r} cannot be the model's name here; give it one with --name")
        return name


def parse_source(text: str) -> ExportSource:
    """`timm:NAME`, a folder, or an id of the Hugging Face hub, of which `@` may name a revision.

    Raises:
        ModelError: a folder without a `config.json`, or a text that is none of these.
    """
    folder = Path(text.removeprefix(_TIMM)).expanduser()
    if folder.name and folder.is_dir():
        return ExportSource(_library_of(folder), str(folder), folder=True)
    if text.startswith(_TIMM):
        found = text.removeprefix(_TIMM)
        if re.fullmatch(r"(hf[-_]hub:)?[\w.@/-]+", found) is None:
            raise ModelError(f"{text!r}: expected timm:NAME, such as timm:vit_small_patch14_dinov2.lvd142m")
        return ExportSource(Library.TIMM, found, folder=False)
    match = _OF_HUB.fullmatch(text)
    if match is None or text.startswith((".", "~")):
        raise ModelError(f"{text!r} is neither a folder nor an id of the hub such as google/siglip2-base-patch16-224")
    if match["id"].startswith("timm/"):
        return ExportSource(Library.TIMM, f"hf-hub:{text}", folder=False)
    return ExportSource(Library.TRANSFORMERS, match["id"], folder=False, revision=match["revision"])


def require_packages(library: Library) -> None:
    """Raises `ModelError` with the command that installs them where PyTorch or the library is missing."""
    missing = [name for name in ("torch", library.value) if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"{' and '.join(missing)} cannot be found here: models are exported in a separate environment, because "
            f"PyTorch takes gigabytes and a server does not need it; make one with: {INSTALL}; then run "
            "export-env/bin/sightline models export"
        )


def _library_of(folder: Path) -> Library:
    """The library that wrote a folder; timm names an architecture, transformers a type of model."""
    file = folder / "config.json"
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: has no config.json; save the model there with `save_pretrained`") from error
    except ValueError as error:
        raise ModelError(f"{file}: is not JSON") from error
    if not isinstance(facts, dict) or not ("model_type" in facts or "architecture" in facts):
        raise ModelError(f"{file}: names neither a `model_type` (transformers) nor an `architecture` (timm)")
    return Library.TRANSFORMERS if "model_type" in facts else Library.TIMM
