"""The bounds of the run, and its tables. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from load_tests.attacks.frame import Bound
from load_tests.milvus_scale.killing import Call, Struck
from load_tests.milvus_scale.searching import Measured
from load_tests.milvus_scale.shops import REMOTE

LOST_RECALL = 0.01
"""Of the nearest products: both compare all vectors at the usual size, and differ by rounding at most."""
BACK_S = 60.0
"""From the start of Milvus until its catalog answers: starting and loading take it most of that."""
FIGURES = ("searches", "first_ms", "p50_ms", "p99_ms", "recall", "violations")


def table(searches: Sequence[Measured]) -> Iterator[str]:
    """One line for each kind of search."""
    yield f"{'search':<11}{'filter':<8}{'catalog':<9}" + "".join(f"{name:>12}" for name in FIGURES)
    for each in searches:
        row = each.row()
        values = "".join(f"{'-' if row[name] is None else row[name]!s:>12}" for name in FIGURES)
        yield f"{each.kind:<11}{each.filter:<8}{each.catalog:<9}{values}"


def outcomes(calls: Sequence[Call]) -> dict[str, dict[str, int]]:
    """The number of photos of each catalog by outcome; `UNAVAILABLE, retry` are those with RetryInfo."""
    counted: dict[str, Counter[str]] = {}
    for each in calls:
        counted.setdefault(each.catalog, Counter())[f"{each.code}, retry" if each.retry else each.code] += 1
    return {catalog: dict(found) for catalog, found in counted.items()}


def of_kill(struck: Struck) -> dict[str, Any]:
    """The figures of the part in which Milvus is killed."""
    deletions = struck.deletions
    others = [call.seconds for call in struck.calls if call.catalog != REMOTE]
    return {
        "photos": outcomes(struck.calls),
        "milvus_away_s": round(struck.started - struck.killed, 1),
        "milvus_answers_s": round(struck.answering - struck.started, 1),
        "catalog_back_s": finite(struck.back - struck.started),
        "other_catalog_slowest_s": round(max(others, default=0.0), 2),
        "deleted": {
            "before": struck.deleted_before,
            "while_away": struck.deleted_until_start - struck.deleted_before,
            "after": len(deletions.acknowledged) - struck.deleted_until_start,
        },
        "deletions_or_searches_refused": deletions.refused,
        "searches_for_deleted": deletions.searches,
    }


def finite(value: float) -> float | None:
    """A figure to one decimal; None for infinity, which JSON cannot hold."""
    return None if value == float("inf") else round(value, 1)


def bounds(searches: Sequence[Measured], struck: Struck) -> list[Bound]:
    """The bounds of both parts."""
    of_remote = [call for call in struck.calls if call.catalog == REMOTE]
    others = [call for call in struck.calls if call.catalog != REMOTE]
    refused = [call for call in of_remote if call.code == "UNAVAILABLE" and call.retry]
    deletions = struck.deletions
    after = len(deletions.acknowledged) - struck.deleted_until_start
    return [
        Bound("products that a filter excludes", sum(each.violations for each in searches), 0),
        Bound("share of the nearest products not found, worst", max(1 - each.recall for each in searches), LOST_RECALL),
        Bound(
            "photos of the catalog in Milvus neither answered nor UNAVAILABLE with RetryInfo",
            sum(call.code != "OK" for call in of_remote) - len(refused),
            0,
        ),
        Bound("kills that refused no photo", int(not refused), 0),
        Bound("photos of the other catalog not answered", sum(call.code != "OK" for call in others), 0),
        Bound("s from the start of Milvus until its catalog answers", struck.back - struck.started, BACK_S),
        Bound("refusals after the catalog was back", sum(call.due > struck.back for call in refused), 0),
        Bound("products seen after their deletion was acknowledged", len(deletions.seen), 0),
        Bound("other errors of deletions and their searches", len(deletions.errors), 0),
        Bound("kills without a deletion before", int(not struck.deleted_before), 0),
        Bound("starts without a deletion afterwards", int(after <= 0), 0),
    ]
