"""Quality of the answers: the rank of the right product, and the figures computed from the ranks.

Rule: sans-IO; a query that failed counts as a miss and is counted separately.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sightline_client.answers import Answer
from sightline_client.events import StageTimings
from sightline_client.queries import Query, QueryFileError, Regions, read_queries

__all__ = [
    "DEPTH",
    "Outcome",
    "Query",
    "QueryFileError",
    "Regions",
    "best_rank",
    "choose_regions",
    "read_queries",
    "report",
]

DEPTH = 10
"""Ranks below it count as not found."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one query: the right product's best rank over the objects, from 1; `error` where it failed.

    `answered` are the ids of all products in the answer. With `person`, the server took a region or the photo for a
    person and did not search it. With `skipped` it left out a comparison that its settings asked for.
    """

    rank: int | None = None
    timings: StageTimings | None = None
    error: str = ""
    answered: frozenset[str] = frozenset()
    person: bool = False
    skipped: bool = False

    @property
    def searched(self) -> bool:
        """True if the server searched what the query asked for."""
        return not self.error and not self.person


def choose_regions(queries: Sequence[Query], wanted: Regions | None) -> Regions:
    """The requested regions, or boxes where the file has them. Raises `QueryFileError` for boxes that it lacks."""
    boxes = sum(query.box is not None for query in queries)
    if wanted is None:
        wanted = Regions.BOX if boxes else Regions.DETECT
    if wanted is Regions.BOX and boxes < len(queries):
        raise QueryFileError(f"{len(queries) - boxes} of {len(queries)} rows have no box")
    return wanted


def best_rank(answer: Answer, product_id: str) -> int | None:
    """The right product's best rank over all objects of the photo, or None."""
    ranks = [ranked.rank for found in answer.objects for ranked in found.products if ranked.product.id == product_id]
    return min(ranks, default=None)


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a run, ready for JSON.

    `hit@k` is the share of queries whose product is among the first k, `mrr@10` the mean of 1/rank with 0 below rank
    10, `person` counts the queries that the server did not search because it saw a person (they are misses), `skipped`
    those that it ranked without a comparison, for lack of time, `stages` mean and median milliseconds over the queries
    that were answered.
    """
    if not outcomes:
        raise ValueError("no outcomes")
    ranks = [outcome.rank for outcome in outcomes]
    return {
        "hit@1": _hit(ranks, 1),
        "hit@5": _hit(ranks, 5),
        "hit@10": _hit(ranks, 10),
        "mrr@10": round(sum(1 / rank for rank in ranks if rank is not None and rank <= DEPTH) / len(ranks), 6),
        "n": len(ranks),
        "failed": sum(bool(outcome.error) for outcome in outcomes),
        "person": sum(outcome.person for outcome in outcomes),
        "skipped": sum(outcome.skipped for outcome in outcomes),
        "stages": _stages(outcome.timings for outcome in outcomes if outcome.timings is not None),
    }


def _hit(ranks: Sequence[int | None], depth: int) -> float:
    return round(sum(rank is not None and rank <= depth for rank in ranks) / len(ranks), 6)


def _stages(timings: Iterable[StageTimings]) -> dict[str, dict[str, float]]:
    columns: dict[str, list[float]] = {}
    for each in timings:
        for name, value in asdict(each).items():
            columns.setdefault(name, []).append(value)
    return {
        name: {"mean": round(statistics.fmean(values), 3), "p50": round(statistics.median(values), 3)}
        for name, values in columns.items()
    }
