"""The peers: how each is started, how it wants a photo, and which of its cells the sweep tries. Pure.

Rule: every cell here is one that the peer's documentation would lead to on this machine; README.md says why.
"""

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from load_tests.peers.cells import COMPOSED, WHOLE, Cell

HERE = Path(__file__).resolve().parent
OCTETS, JSON = "application/octet-stream", "application/json"


@dataclass(frozen=True, slots=True)
class Peer:
    """A framework: `package` is its distribution, `folder` holds its application, its requirements and its name."""

    name: str
    package: str
    folder: str
    command: Callable[[Path, Cell, int], list[str]]
    path: str
    content_type: str
    cells: tuple[Cell, ...]

    @property
    def requirements(self) -> Path:
        """Its exact packages."""
        return HERE / self.folder / "requirements.txt"

    def body(self, photo: bytes) -> bytes:
        """A photo as this peer takes it."""
        if self.content_type == OCTETS:
            return photo
        return json.dumps({"photos": [base64.b64encode(photo).decode()]}).encode()


def module(name: str) -> Callable[[Path, Cell, int], list[str]]:
    """Starts a peer's application as a module of its environment's Python."""
    return lambda environment, cell, port: [str(environment / "bin/python"), "-m", name]


def bentoml_serve(environment: Path, cell: Cell, port: int) -> list[str]:
    """BentoML's own command, on the service of the cell's layout."""
    service = "service:Front" if cell.layout == COMPOSED else "service:Lens"
    serve = [str(environment / "bin/python"), "-m", "bentoml", "serve", service]
    return [*serve, "--working-dir", str(HERE / "bentoml"), "--host", "127.0.0.1", "--port", str(port)]


WHOLE_CELLS = (Cell(WHOLE, 1, 2, 1), Cell(WHOLE, 2, 2, 1), Cell(WHOLE, 4, 2, 1), Cell(WHOLE, 4, 1, 2))
COMPOSED_CELLS = (Cell(COMPOSED, 4, 1, 2), Cell(COMPOSED, 4, 1, 1))

PEERS = (
    Peer(
        "LitServe",
        "litserve",
        "litserve",
        module("load_tests.peers.litserve.app"),
        "/predict",
        OCTETS,
        (*WHOLE_CELLS, Cell(WHOLE, 8, 2, 1), Cell(WHOLE, 1, 1, 2)),
    ),
    Peer(
        "Ray Serve",
        "ray",
        "ray_serve",
        module("load_tests.peers.ray_serve.app"),
        "/",
        OCTETS,
        (*WHOLE_CELLS, *COMPOSED_CELLS),
    ),
    Peer("BentoML", "bentoml", "bentoml", bentoml_serve, "/search", JSON, (*WHOLE_CELLS, *COMPOSED_CELLS)),
)


def chosen(names: str) -> tuple[Peer, ...]:
    """The peers of a comma-separated list of folders; all for an empty one. Exits for a name that is none."""
    wanted = [name for name in names.split(",") if name]
    known = {peer.folder: peer for peer in PEERS}
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"no peer {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted) or PEERS
