"""Hit rates of one server with all of its steps, and without local features and colours, from the same answers.

    python -m load_tests.steps --grocery DIR --catalog DIR [--colours 0.1] [--callers 2] [--set NAME=VALUE ...]

Each photo of queries.csv is searched once as a whole photo, for 100 products. The contributions of the reasons that a
step added are taken off, and the products are ranked again: so the steps are compared on the same similarities, in one
run. --colours is the weight of the colours, which the server itself compares at a weight that changes no rank. A photo
that is refused as one of people counts as a miss. Prints one JSON object.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from load_tests.against import settings_of
from load_tests.observe.machine import tree_cpu_s
from load_tests.quality import START_TIMEOUT_S, rows_of
from load_tests.quality_tables import HITS
from sightline_client.answers import Answer
from sightline_client.events import Box, ReasonKind
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.sync import Client

MOST_PRODUCTS, DEADLINE_S = 100, 110.0
TINY = 0.001
"""The weight with which the server compares colours: the contributions are known, and the order stays."""
SERVER = {
    "SIGHTLINE_LOCAL_FEATURES__COLOUR_CONTRIBUTION": str(TINY),
    "SIGHTLINE_LOCAL_FEATURES__MIN_TIME_LEFT_S": "0",
}
STEPS: Mapping[str, frozenset[ReasonKind]] = {
    "similarity": frozenset(),
    "local features": frozenset({ReasonKind.LOCAL_FEATURES}),
    "local features and colours": frozenset({ReasonKind.LOCAL_FEATURES, ReasonKind.COLOUR}),
}
"""The reasons that count in each way to rank, next to the similarity."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to a photo of the product `product_id`."""

    product_id: str
    kind: str
    answer: Answer

    @property
    def refused(self) -> bool:
        """True where nothing was searched."""
        return not any(found.products for found in self.answer.objects)

    def rank(self, counted: frozenset[ReasonKind], weights: Mapping[ReasonKind, float]) -> int | None:
        """The rank of the right product, from 1, where only these reasons count; None where it is not in the answer."""
        scores = dict[str, float]()
        for found in self.answer.objects:
            for each in found.products:
                added = sum(r.contribution * weights.get(r.kind, 1.0) for r in each.reasons if r.kind in counted)
                scores[each.product.id] = each.similarity + added
        own = scores.get(self.product_id)
        return None if own is None else 1 + sum(score > own for score in scores.values())


def hit_rates(ranks: Sequence[int | None]) -> dict[str, float]:
    """The share of ranks up to 1, 5 and 10."""
    depths = (int(hit.removeprefix("hit@")) for hit in HITS)
    return {
        hit: round(sum(rank is not None and rank <= depth for rank in ranks) / len(ranks), 4)
        for hit, depth in zip(HITS, depths, strict=True)
    }


def report(asked: Sequence[Asked], colours: float) -> dict[str, dict[str, dict[str, float]]]:
    """The hit rates of each way to rank: of all photos, of those answered, and of each kind of product."""
    weights = {ReasonKind.COLOUR: colours / TINY}
    groups = {"all": asked, "answered": [each for each in asked if not each.refused]}
    groups |= {kind: [each for each in asked if each.kind == kind] for kind in sorted({each.kind for each in asked})}
    return {
        step: {name: hit_rates([each.rank(counted, weights) for each in group]) for name, group in groups.items()}
        for step, counted in STEPS.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.steps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grocery", type=Path, required=True, help="folder with feed.csv, queries.csv and images")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog of it, with local features")
    parser.add_argument("--colours", type=float, default=0.1, help="weight of the colours")
    parser.add_argument("--callers", type=int, default=2, help="calls at once")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="a variable")
    given = parser.parse_args(arguments)
    kinds = {row["id"]: row["product_type"].split(">")[0].strip() for row in rows_of(given.grocery / "feed.csv")}
    queries = rows_of(given.grocery / "queries.csv")
    env = {**SERVER, **settings_of(given.settings)}
    with (
        LocalServer(catalog=given.catalog, env=env, start_timeout_s=START_TIMEOUT_S) as server,
        Client(ClientOptions(server.target)) as client,
        ThreadPoolExecutor(given.callers) as pool,
    ):

        def ask(row: Mapping[str, str]) -> Asked:
            photo, product_id = (given.grocery / row["image"]).read_bytes(), row["product_id"]
            whole = [Box(0, 0, 1, 1)]
            answer = client.find(
                photo, regions=whole, max_products=MOST_PRODUCTS, min_similarity=0.0, timeout_s=DEADLINE_S
            )
            return Asked(product_id, kinds[product_id], answer)

        begun = tree_cpu_s(server.pid)
        asked = list(pool.map(ask, queries))
        cpu_ms = 1e3 * (tree_cpu_s(server.pid) - begun) / len(asked)
    times = [each.answer.done.timings.total_ms for each in asked if each.answer.done is not None]
    facts = {
        "photos": len(asked),
        "refused": sum(each.refused for each in asked),
        "skipped": sum(each.answer.done is not None and bool(each.answer.done.skipped) for each in asked),
        "cpu_ms": round(cpu_ms, 1),
        "p50_ms": round(statistics.median(times), 1),
    }
    print(json.dumps({**facts, "hits": report(asked, given.colours)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
