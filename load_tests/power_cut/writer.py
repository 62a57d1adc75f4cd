"""The process that is traced: writes groups to a catalog and prints a line when each was acknowledged.

    python -m load_tests.power_cut.writer CATALOG GROUPS SEED [synchronous-off | no-folder-sync]
Rule: what it writes follows from the seed, so that the checker knows the content after every group. The two mutations
leave out a step that makes writes durable; a check that does not notice them is worthless.
"""

import os
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from load_tests.catalog_crash.rows import SPEC, product_row
from sightline_server.catalog import durable, log_file
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.living import LivingCatalog
from sightline_server.index.reembedding import EmbeddedImages, Reembedding

CHECKPOINT_EVERY = 6
COMPACT_EVERY = 30
SWITCH_EVERY = 15
"""Groups between two changes of the embedder."""
SLOTS = 12
EMBEDDERS = (SPEC, replace(SPEC, name="other", sha256="ef" * 32))
"""The embedders that the catalog has in turn; both make the same vectors."""


def plan(groups: int, seed: int) -> Iterator[tuple[str, dict[str, int]]]:
    """The groups: `upsert` with values by id, or `delete` of ids."""
    choice = random.Random(seed)
    for number in range(1, groups + 1):
        ids = [f"s{choice.randrange(SLOTS)}-{part}" for part in range(2)]
        kind = "delete" if choice.random() < 0.25 else "upsert"
        yield kind, dict.fromkeys(ids, number)


def contents(start: Mapping[str, int], groups: int, seed: int) -> list[dict[str, int]]:
    """The values by id after 0, 1, 2, ... groups."""
    found = [dict(start)]
    for kind, values in plan(groups, seed):
        after = dict(found[-1])
        if kind == "upsert":
            after |= values
        else:
            for product_id in values:
                after.pop(product_id, None)
        found.append(after)
    return found


def embedder_after(groups: int) -> EmbedderSpec:
    """The embedder of the catalog when so many groups were acknowledged, and the next one was not yet begun."""
    return EMBEDDERS[max(0, groups - 1) // SWITCH_EVERY % len(EMBEDDERS)]


def switch(living: LivingCatalog, catalog: Path, embedder: EmbedderSpec) -> None:
    """Embeds the catalog by `embedder` in another generation, and makes that the current one."""
    reembedding = Reembedding(catalog, embedder)
    embedded = (
        EmbeddedImages(each.product.id, each.images, product_row("", int(each.product.title)).embeddings)
        for each in reembedding.products()
    )
    living.store.rollback(reembedding.prepare(living.store, embedded).number)


def mutate(mutation: str) -> None:
    """Leaves a step out."""
    if mutation == "synchronous-off":
        log_file.SYNCHRONOUS = "OFF"
    elif mutation == "no-folder-sync":
        whole = durable.sync
        durable.sync = lambda path: None if os.path.isdir(path) else whole(path)


def main() -> None:
    """Writes and prints."""
    catalog, groups, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    mutate("".join(sys.argv[4:]))
    with LivingCatalog(catalog) as living:
        for number, (kind, values) in enumerate(plan(groups, seed), 1):
            if kind == "upsert":
                living.upsert([product_row(product_id, value) for product_id, value in values.items()])
            else:
                living.delete(list(values))
            os.write(1, b"ack %d\n" % number)
            if number % SWITCH_EVERY == 0:
                switch(living, catalog, embedder_after(number + 1))
            if number % CHECKPOINT_EVERY == 0:
                living.checkpoint()
            if number % COMPACT_EVERY == 0:
                living.store.compact(keep=3)


if __name__ == "__main__":
    main()
