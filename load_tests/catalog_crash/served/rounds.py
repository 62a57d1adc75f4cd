"""Rounds of a served catalog under gRPC writers: the server or its engine is ended, and the catalog is compared.

Rule: only what the server has acknowledged counts as written, and it must be there after each start. Ready embeddings
are written while the engine is down; an image gets a status that says when to try again.
"""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from load_tests.catalog_churn.shop import NAME, Seeds, write_shop
from load_tests.catalog_crash.served.figures import Result
from load_tests.catalog_crash.served.harm import Harm, end_engine, end_server
from load_tests.catalog_crash.served.shop import Shop, served_faults, states_on_disk
from load_tests.catalog_crash.served.states import Expected, State
from load_tests.catalog_crash.served.writers import Answers, Writers
from sightline_client import AsyncCatalogClient, SightlineError
from sightline_client.local_server import LocalServer

START_S = 120.0
CHECKPOINT_S = 0.7
CHECKPOINT_FEED = "checkpoint.jsonl"


@dataclass
class Rounds:
    """Rounds of the catalog `shop` with `writers`; `variables` are added to the environment of its servers."""

    shop: Shop
    work: Path
    writers: int
    seed: int
    variables: Mapping[str, str]
    result: Result = field(default_factory=Result)
    expected: Expected = field(default_factory=Expected)
    absent: set[str] = field(default_factory=set)
    """Products that were there once."""

    def play(self, harms: Sequence[Harm]) -> Result:
        """Plays a round with each of `harms`, in turn."""
        left = list(enumerate(harms))
        while left:
            with self._server() as server:
                asyncio.run(self._until_ended(server, left))
        with self._server() as server:
            asyncio.run(self._check(server))
        return self.result

    def _server(self) -> LocalServer:
        self.result.starts += 1
        return LocalServer(
            catalog=self.shop.folder,
            extra_args=["--catalog-listen", self.shop.catalog_target],
            env={**self.variables, "SIGHTLINE_TRANSFER__IMPORT_FOLDER": str(self.work)},
            log=self.work / f"server-{self.result.starts}.log",
            start_timeout_s=START_S,
        )

    async def _until_ended(self, server: LocalServer, left: list[tuple[int, Harm]]) -> None:
        """Plays rounds until one has ended the server."""
        await self._check(server)
        while left:
            number, harm = left.pop(0)
            await self._round(server, harm, self.seed * 10_000 + number + 1)
            self.result.rounds += 1
            if harm.ends_server:
                return
            await self._check(server)

    async def _round(self, server: LocalServer, harm: Harm, seed: int) -> None:
        choice, answers = random.Random(seed), Answers()
        writers = self._writers(answers)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writers.run(self.writers, seed))
            importing = tasks.create_task(checkpoints(self.shop, self.work))
            await asyncio.sleep(choice.uniform(0.2, 2.0))
            if harm.ends_server:
                self.result.server_ended(harm, await end_server(server, harm, choice))
            else:
                self.result.engine_ended(await end_engine(server, harm, answers), answers)
            writers.stop()
            importing.cancel()
        if not harm.ends_server:
            answers.unclear += writers.ended_by_server
        self.result.answered(answers)

    async def _check(self, server: LocalServer) -> None:
        """Compares the disk, the lists and the searches of a server with what was acknowledged."""
        found = self._compare()
        if self.expected.open and self.result.starts % 2:
            answers = Answers()
            await self._writers(answers).send_again()
            self.result.sent_again += len(answers.all)
            self.result.failed([f"sent again, and refused: {each}" for each in answers.all if not each.written])
            found = self._compare()
        self.expected.open.clear()
        self.result.failed(await served_faults(self.shop, server, found, self.absent))
        self.absent |= set(found)

    def _writers(self, answers: Answers) -> Writers:
        shop = self.shop
        return Writers(shop.catalog_target, shop.seeds.embedder.identity, shop.seeds, self.expected, answers)

    def _compare(self) -> Mapping[str, State]:
        found, faults = states_on_disk(self.shop)
        self.result.failed([*faults, *self.expected.faults(found)])
        return found


async def checkpoints(shop: Shop, feeds: Path) -> None:
    """Imports a product again and again: an import ends with a checkpoint of all that was written."""
    embedder = shop.seeds.embedder.identity
    row = {"id": "imported", "title": "imported", "image_link": "imported.jpg", "embedder": embedder}
    text = json.dumps({**row, "embeddings": [shop.seeds.copy(0).tolist()]})
    (feeds / CHECKPOINT_FEED).write_text(text + "\n")
    async with AsyncCatalogClient(shop.catalog_target) as catalog:
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            with suppress(SightlineError):
                await catalog.transfers.wait(await catalog.transfers.import_feed(NAME, CHECKPOINT_FEED, embedded=True))


def crash_served(
    work: Path,
    seeds: Seeds,
    harms: Sequence[Harm],
    *,
    writers: int,
    products: int,
    seed: int,
    variables: Mapping[str, str] | None = None,
) -> Result:
    """Plays a round with each of `harms` on a new catalog of `products` copies of `seeds` below `work`."""
    write_shop(work / "shop", seeds, products)
    shop = Shop(work / "shop", f"unix:{work / 'catalog.socket'}", seeds, products)
    return Rounds(shop, work, writers, seed, variables or {}).play(harms)
