"""The ways to configure a peer, and how one of them reaches its processes. Standard library only.

Rule: a cell says all that the sweep varies; what it does not say is the same in every cell of a peer.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

CELL, WORLD, PORT = "SIGHTLINE_PEER_CELL", "SIGHTLINE_PEER_WORLD", "SIGHTLINE_PEER_PORT"
WHOLE, COMPOSED = "whole", "composed"


@dataclass(frozen=True, slots=True)
class Cell:
    """One configuration of a peer.

    `layout` is `whole` (each worker does all steps, batches are of photos) or `composed` (detector and embedder are
    separate services and form batches each). `batch` is the largest batch in photos, `workers` the processes of
    each service that runs a model, `threads` those of one call of ONNX Runtime.
    """

    layout: str
    batch: int
    workers: int
    threads: int

    def __str__(self) -> str:
        return f"{self.layout}, batch {self.batch}, {self.workers} workers, {self.threads} threads"


@dataclass(frozen=True, slots=True)
class Seat:
    """The variables of a peer's process: its cell, the folder of the world, its port."""

    cell: Cell
    world: Path
    port: int

    def environment(self) -> dict[str, str]:
        """The variables that say it."""
        return {CELL: json.dumps(asdict(self.cell)), WORLD: str(self.world), PORT: str(self.port)}


def seat(environment: Mapping[str, str] = os.environ) -> Seat:
    """The seat that this process was started on."""
    return Seat(Cell(**json.loads(environment[CELL])), Path(environment[WORLD]), int(environment[PORT]))
