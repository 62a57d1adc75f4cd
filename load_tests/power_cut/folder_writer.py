"""The process that is traced: creates, writes and deletes catalogs of a folder, and prints a line after each step.

    python -m load_tests.power_cut.folder_writer FOLDER STEPS SEED [MUTATION]
Rule: the parts of a server, without its listeners; what they do follows from the seed. Each mutation leaves out
something that makes a step durable, or done at once.
"""

import asyncio
import os
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from load_tests.catalog_crash.rows import SPEC, product_row
from load_tests.power_cut.writer import mutate
from sightline_server.app.batchers import INDEX, batcher, search_all
from sightline_server.app.catalog_changes import ChangingCatalogs, open_catalogs_folder
from sightline_server.app.catalogs import new_registry
from sightline_server.app.watching import keep_watching
from sightline_server.app.written import WrittenCatalogs
from sightline_server.catalog import durable
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import EMBEDDER
from sightline_server.index import catalogs_folder
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.jobs.jobs import Jobs
from sightline_server.rpc.catalog.catalog_set import NewCatalog
from sightline_server.rpc.catalog.writers import CatalogWriters
from sightline_server.settings import Settings
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics

NAMES = ("a", "b", "c")
CREATE, WRITE, CHECKPOINT, DELETE = "create", "write", "checkpoint", "delete"
DELETE_IN_PLACE = "delete-in-place"

Contents = Mapping[str, Mapping[str, int]]
"""The values of products by id, by catalog."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the catalog `name`."""

    kind: str
    name: str
    value: int


def plan(steps: int, seed: int) -> Iterator[Step]:
    """The steps: a catalog is written a few times between its creation and its end."""
    choice, there = random.Random(seed), set[str]()
    for number in range(1, steps + 1):
        name = choice.choice(NAMES)
        if name not in there:
            there.add(name)
            yield Step(CREATE, name, number)
            continue
        kind = choice.choice((WRITE, WRITE, CHECKPOINT, DELETE, DELETE))
        if kind == DELETE:
            there.remove(name)
        yield Step(kind, name, number)


def contents(steps: int, seed: int) -> list[Contents]:
    """The contents of all catalogs after 0, 1, 2, ... steps."""
    found: list[Contents] = [{}]
    for step in plan(steps, seed):
        after = {name: dict(values) for name, values in found[-1].items()}
        if step.kind == CREATE:
            after[step.name] = {}
        elif step.kind == WRITE:
            after[step.name][f"p{step.value % 4}"] = step.value
        elif step.kind == DELETE:
            del after[step.name]
        found.append(after)
    return found


async def run(root: Path, steps: int, seed: int) -> None:
    """Takes the steps in the folder `root`."""
    names, metrics, writers = CatalogNames(()), Metrics(), CatalogWriters()
    async with AsyncExitStack() as stack:
        registry, device = new_registry(stack, CatalogMetrics(metrics))
        queries = batcher(stack, "queries", search_all, Settings().batching.queries, INDEX, metrics)
        folders = dict[str, Path]()
        folder = open_catalogs_folder(stack, root, names, folders)
        written = WrittenCatalogs(stack, folders, metrics)
        await written.publish(registry, device, ServedEmbedders.of([(EMBEDDER, SPEC)]))
        written.watch(keep_watching(stack, registry, queries, written.observer))
        stack.push_async_callback(written.close)
        changing = ChangingCatalogs(written, folder, {}, names, writers, Jobs(max_running=1))
        for number, step in enumerate(plan(steps, seed), 1):
            await take(step, changing, writers)
            os.write(1, b"ack %d\n" % number)


async def take(step: Step, changing: ChangingCatalogs, writers: CatalogWriters) -> None:
    """Takes one step."""
    if step.kind == CREATE:
        await changing.create(NewCatalog(step.name))
    elif step.kind == WRITE:
        await writers.named(step.name).upsert([product_row(f"p{step.value % 4}", step.value)])
    elif step.kind == CHECKPOINT:
        await writers.named(step.name).checkpoint()
    else:
        await changing.remove(step.name, lambda products: None)


def leave_out(mutation: str) -> None:
    """Leaves something out, also in the folder of catalogs."""
    mutate(mutation)
    patch.object(catalogs_folder, "sync", durable.sync).start()
    if mutation == DELETE_IN_PLACE:
        patch.object(CatalogsFolder, "set_aside", lambda self, name: self.root / name).start()


def main() -> None:
    """Takes the steps of the command line."""
    leave_out("".join(sys.argv[4:]))
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))


if __name__ == "__main__":
    main()
