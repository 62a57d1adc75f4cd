"""The weights of ranking that are shipped with the models, as a file next to each embedder.

Place in the flow: `models pull` and `models use` -> `<repository>/<folder>/ranking_weights.json` -> read by a server at
its start. The one rule: a file that is there is the operator's and stays as it is. The server that reads it checks what
is in it.
"""

from __future__ import annotations

from pathlib import Path

from sightline_models.embedders import FIRST
from sightline_models.store import replace_file, role_of

FILE = "ranking_weights.json"
_SHIPPED = Path(__file__).with_name(FILE)


def weights_path(repository: Path, folder: str) -> Path:
    """The file of the embedder in `folder`; it may be missing."""
    return repository / folder / FILE


def shipped_weights() -> bytes:
    """The content of the file that is shipped."""
    return _SHIPPED.read_bytes()


def place_weights(repository: Path, folder: str) -> None:
    """Puts the shipped file next to the model in `folder` if that is an embedder without one. Raises `OSError`."""
    path = weights_path(repository, folder)
    if role_of(folder) == FIRST and not path.exists():
        replace_file(path, shipped_weights())
