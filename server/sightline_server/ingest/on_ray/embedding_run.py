"""All blocks of a build through a pool of workers, into the checkpoint.

Rule: a block whose worker failed is done by another one. The run ends when no worker can go on, with the last reason;
what was embedded is in the checkpoint then.
"""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from sightline_server.errors import SightlineError
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.on_ray.checkpoint import Checkpoint
from sightline_server.ingest.on_ray.plan import Block
from sightline_server.ingest.on_ray.worker import Fault, Outcome

MOST_FAULTS = 5
"""Faults of each worker in a row, without a block that was done in between, that end a run."""


class Pool(Protocol):
    """Workers on a cluster."""

    @property
    def workers(self) -> int:
        """The number of workers."""

    def run(self, blocks: Iterable[Block]) -> Generator[Outcome, None, None]:
        """The outcomes of `blocks`, one each, in any order. Closing the generator ends the workers."""


@dataclass(slots=True)
class EmbeddingRun:
    """One run. `embedded` images are those of this run, `failed` those without an embedding."""

    pool: Pool
    checkpoint: Checkpoint
    progress: Progress
    embedded: int = 0
    failed: int = 0
    rows: int = 0
    workers: set[str] = field(default_factory=set)

    def run(self, blocks: Iterable[Block]) -> None:
        """Embeds the images of `blocks`. Raises `SightlineError`, of the kind of the last fault where it ends so."""
        while remaining := self._attempt(blocks):
            blocks = remaining

    def _attempt(self, blocks: Iterable[Block]) -> list[Block]:
        """Gives each block to a worker once; returns those that are to be done again."""
        remaining: list[Block] = []
        failing: dict[str, bool] = {}
        done, in_a_row = 0, 0
        last: Outcome | None = None
        with closing(self.pool.run(blocks)) as outcomes:
            for outcome in outcomes:
                failing[outcome.worker] = outcome.fault is not None
                if outcome.fault is None:
                    self._take(outcome)
                    done, in_a_row = done + 1, 0
                    continue
                last, in_a_row = outcome, in_a_row + 1
                remaining.append(outcome.block)
                self.progress.waiting(f"the worker on {outcome.node} failed: {outcome.fault.message}")
                all_fail = len(failing) >= self.pool.workers and all(failing.values())
                if all_fail or in_a_row >= MOST_FAULTS * self.pool.workers:
                    raise self._ended(outcome.node, outcome.fault)
        if last is not None and last.fault is not None and not done:
            raise self._ended(last.node, last.fault)
        return remaining

    def _take(self, outcome: Outcome) -> None:
        part = self.checkpoint.add(outcome.block.number, outcome.part, outcome.node)
        embedded = sum(image.embeddings is not None for image in part.images)
        self.embedded += embedded
        self.failed += len(part.images) - embedded
        self.workers.add(outcome.worker)
        self.rows += outcome.block.rows
        self.progress.rows(self.rows)

    def _ended(self, node: str, fault: Fault) -> SightlineError:
        message = f"no worker can go on; the one on {node}: {fault.message}. {going_on(self.checkpoint)}"
        return SightlineError(fault.kind, message)


def going_on(checkpoint: Checkpoint) -> str:
    """The remark about a build that ended early."""
    return f"What was embedded is in {checkpoint.folder}: the same command goes on from there"
