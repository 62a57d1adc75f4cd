"""The embedders of a model repository: `embedder`, and further ones in folders `embedder-NAME` of the same layout.

Place in the flow: read by the commands on models and by the server, which serves all of them. The one rule: the name of
the folder alone says that a model is an embedder.
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


def embedder_folders(repository: Path) -> tuple[str, ...]:
    """The names of the folders of further embedders, in their order; none without a repository."""
    if not repository.is_dir():
        return ()
    return tuple(sorted(path.name for path in repository.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir()))
