"""The case `fresh`: the time from the acknowledgement of a write until two replicas find it.

    write (acknowledged) -> published within a second -> taken within a second -> found on each replica
    delete (acknowledged) -> ... -> found nowhere
Rule: the writer is the store itself with the publisher of a server, on a copy of the catalog; replicas are asked by
embeddings, so that nothing but the catalog is measured. A checkpoint in the middle makes a new base.
"""

import math
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from load_tests.replicas.stale import FollowingReplica, StartFollowing
from sightline_client import Client
from sightline_server.app.following import EVERY_S
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.items import Product
from sightline_server.index.living import LivingCatalog
from sightline_server.index.replication.publisher import Publisher

FRESH = "fresh"
WITHIN_S = 5.0
"""The bound of the 99th percentile."""
GIVEN_UP_S = 30.0
ASK_EVERY_S = 0.05
CHANGES = 30


@dataclass(frozen=True, slots=True)
class FreshVerdict:
    """Seconds from acknowledgements until each replica had the change, and whether the bound holds."""

    case: str
    changes: int
    replicas: int
    found_p50_s: float
    found_p99_s: float
    gone_p50_s: float
    gone_p99_s: float
    missed: int
    """Changes that a replica did not have within 30 s."""
    holds: bool

    @property
    def line(self) -> str:
        """One line for a reader."""
        return (
            f"{self.case}: {'holds' if self.holds else 'MISSED'}: {self.changes} products written and deleted, "
            f"found on {self.replicas} replicas after {self.found_p50_s:.2f} s (p50) and "
            f"{self.found_p99_s:.2f} s (p99), gone after {self.gone_p50_s:.2f} s and {self.gone_p99_s:.2f} s, "
            f"{self.missed} missed"
        )


def drill_fresh(start: StartFollowing, catalog: Path, changes: int = CHANGES) -> FreshVerdict:
    """The verdict on the case. Raises what a server raises when it does not start."""
    with tempfile.TemporaryDirectory(prefix="sightline-drill-") as name, ExitStack() as stack:
        folder = Path(name)
        shop, share = Path(shutil.copytree(catalog, folder / "shop")), folder / "share"
        share.mkdir()
        publisher = Publisher(shop, share)
        store = CatalogStore(shop, pause=publisher.keep_operations)
        living = stack.enter_context(LivingCatalog(shop, store=store))
        publisher.step()
        stack.enter_context(publishing(publisher))
        replicas = [stack.enter_context(start(share, folder / f"copy-{number}")) for number in range(2)]
        return measured(living, replicas, changes)


@contextmanager
def publishing(publisher: Publisher) -> Iterator[None]:
    """Publishes once a second for the length of the block, as a server does."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(EVERY_S):
            publisher.step()

    thread = threading.Thread(target=run, name="publishing")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measured(living: LivingCatalog, replicas: Sequence[FollowingReplica], changes: int) -> FreshVerdict:
    """Writes and deletes `changes` products, one after the other, at random moments of a second."""
    chance, vectors = random.Random(7), np.random.default_rng(7)
    found: list[float] = []
    gone: list[float] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(each.target)) for each in replicas]
        threads = stack.enter_context(ThreadPoolExecutor(len(clients)))
        for number in range(changes):
            product_id = f"fresh-{number}"
            vector = vectors.standard_normal((1, living.embedder.dimension)).astype(np.float32)
            vector /= np.linalg.norm(vector)
            has = [Asked(client, living.embedder.identity, vector, product_id) for client in clients]
            time.sleep(chance.uniform(0.0, EVERY_S))
            product = Product(product_id, title="measured by the drill")
            living.upsert([CatalogRow(product, None, (f"{product_id}.jpg",), vector)])
            found += threads.map(lambda each: seconds_until(each.is_found), has)
            if number == changes // 2:
                living.checkpoint()
            time.sleep(chance.uniform(0.0, EVERY_S))
            living.delete([product_id])
            gone += threads.map(lambda each: seconds_until(lambda: not each.is_found()), has)
    missed = sum(each >= GIVEN_UP_S for each in (*found, *gone))
    holds = not missed and max(percentile(found, 0.99), percentile(gone, 0.99)) <= WITHIN_S
    times = (percentile(found, 0.5), percentile(found, 0.99), percentile(gone, 0.5), percentile(gone, 0.99))
    return FreshVerdict(FRESH, changes, len(replicas), *times, missed, holds)


@dataclass(frozen=True, slots=True)
class Asked:
    """A product that `client` is asked for by its own embedding, float32 [1,D]."""

    client: Client
    embedder: str
    vector: np.ndarray
    product_id: str

    def is_found(self) -> bool:
        """Returns whether the closest product is this one."""
        answer = self.client.find_embeddings(self.vector, embedder=self.embedder, max_products=1, timeout_s=10.0)
        return any(found.product.id == self.product_id for each in answer.objects for found in each.products)


def seconds_until(holds: Callable[[], bool]) -> float:
    """Seconds until something holds, which is asked again and again; `GIVEN_UP_S` where it does not."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun >= GIVEN_UP_S:
            return GIVEN_UP_S
        time.sleep(ASK_EVERY_S)
    return time.monotonic() - begun


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of `values` do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
