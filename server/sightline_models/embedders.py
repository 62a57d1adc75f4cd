"""The embedders of a model repository: `embedder`, and further ones in folders `embedder-NAME` of the same layout.

A text encoder belongs to one of them and has the folder `text_encoder`, or `text_encoder-NAME` next to `embedder-NAME`.

Place in the flow: read by the commands on models and by the server, which serves all of them. The one rule: the name of
the folder alone says what a model is.
"""

from __future__ import annotations

import re
from pathlib import Path

FIRST = "embedder"
"""The folder of the first embedder."""
FOLDER = re.compile(r"embedder-[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
"""The name of the folder of a further embedder. It is short, because metrics and messages show it."""
MOST_EMBEDDERS = 7
"""Further embedders of one server; each has processes, memory and series of metrics."""
TEXT = "text_encoder"
"""The folder of the text encoder of the first embedder."""
TEXT_FOLDER = re.compile(r"text_encoder(?:-[A-Za-z0-9][A-Za-z0-9._-]{0,31})?")
"""The name of the folder of a text encoder."""


def embedder_folders(repository: Path) -> tuple[str, ...]:
    """The names of the folders of further embedders, in their order; none without a repository."""
    return _folders(repository, FOLDER)


def text_folders(repository: Path) -> tuple[str, ...]:
    """The names of the folders of text encoders, in their order; none without a repository."""
    return _folders(repository, TEXT_FOLDER)


def text_folder_of(embedder: str) -> str:
    """The folder of the text encoder of the embedder in the folder `embedder`."""
    return TEXT + embedder.removeprefix(FIRST)


def embedder_folder_of(text_encoder: str) -> str:
    """The folder of the embedder to which the text encoder in the folder `text_encoder` belongs."""
    return FIRST + text_encoder.removeprefix(TEXT)


def is_further(folder: str) -> bool:
    """Returns whether the model in a folder is one that a repository may lack: an embedder or a text encoder."""
    return FOLDER.fullmatch(folder) is not None or TEXT_FOLDER.fullmatch(folder) is not None


def _folders(repository: Path, pattern: re.Pattern[str]) -> tuple[str, ...]:
    if not repository.is_dir():
        return ()
    return tuple(sorted(path.name for path in repository.iterdir() if pattern.fullmatch(path.name) and path.is_dir()))
